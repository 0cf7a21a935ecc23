# SPDX-License-Identifier: Apache-2.0
"""Turns a golden case into inputs of the network by our own preprocessing, and compares them with
the reference's.

Images and prompt of the case go through our preprocessing. Where the case lacks the images, the
reference's patches stand in, and where it lacks the prompt, its token ids, so that the later stages
can still be compared.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.shapes import ProcessorShape
from penguin_ros.config import VisualConfig
from penguin_ros.evaluation.golden import GoldenCase, GoldenValuesError, messages_of
from penguin_ros.evaluation.stage_results import (
    StageResult,
    Tolerance,
    Verdict,
    close,
    identical,
)
from penguin_ros.model_inputs import FramePatches, ModelInputs, Prompt
from penguin_ros.preprocessing.clip_inputs import ImageInput, Preprocessor
from penguin_ros.preprocessing.prompt import ImagePart, Message, Part, VideoPart, render

STAGES = ('prompt', 'frame types', 'frame sizes', 'pixels', 'token ids')


def inputs_of(case: GoldenCase, checkpoint: Checkpoint | Bundle) -> ModelInputs:
    """What the backend is given. Raises GoldenValuesError for a prompt that is no chat markup, and
    what the preprocessing raises.
    """
    image_token_id = checkpoint.shape.image_token_id
    has_prompt = case.text('prompt') is not None
    messages = messages_of(case) if has_prompt else [_images_alone(case)]
    frames = (
        _own_patches(case, messages, checkpoint) if has_images(case) else _reference_patches(case)
    )
    if has_prompt:
        prompt = render(
            messages, checkpoint.tokenizer, [frame.tokens for frame in frames], image_token_id
        )
    else:
        prompt = _reference_prompt(case, frames, image_token_id)
    return ModelInputs(prompt, frames, image_token_id)


def has_images(case: GoldenCase) -> bool:
    """Whether the case has anything to preprocess."""
    return bool(case.images or case.frames)


def input_stages(case: GoldenCase, inputs: ModelInputs, tolerance: Tolerance) -> list[StageResult]:
    """Compares everything up to the network, in the order of STAGES."""
    types = np.array([frame.type for frame in inputs.frames], np.int64)
    sizes = np.array(
        [(1, frame.rows, frame.columns, frame.merge_size) for frame in inputs.frames]
    ).reshape(-1, 4)
    pixels = [frame.pixels for frame in inputs.frames]
    seen = [
        identical('frame types', types, case.get('frame_types')),
        _sizes(case, sizes),
        close(
            'pixels',
            np.concatenate(pixels) if pixels else np.zeros((0, 0)),
            case.get('pixel_values'),
            tolerance.pixels,
        ),
    ]
    if not has_images(case):
        note = "no image given, the reference's patches are used" if inputs.frames else ''
        seen = [StageResult(stage.stage, Verdict.NOT_GIVEN, note=note) for stage in seen]
    ids = identical('token ids', inputs.prompt.token_ids, _row(case))
    if case.text('prompt') is None:
        ids = StageResult(
            'token ids', Verdict.NOT_GIVEN, note="no prompt given, the reference's ids are used"
        )
    return [_prompt(case, inputs), *seen, ids]


def _prompt(case: GoldenCase, inputs: ModelInputs) -> StageResult:
    """Compares our rendering with the text that the messages were read from."""
    text = case.text('prompt')
    if text is None:
        return StageResult('prompt', Verdict.NOT_GIVEN)
    ours = inputs.prompt.text
    if ours == text:
        return StageResult('prompt', Verdict.OK, 0, 0)
    at = len(os.path.commonprefix((ours, text)))
    own, other = (shown[at : at + 20] for shown in (ours, text))
    return StageResult('prompt', Verdict.FAIL, 1, 0, f'at {at}: {own!r} instead of {other!r}')


def _sizes(case: GoldenCase, sizes: np.ndarray) -> StageResult:
    """Compares grids and merge sizes as one table (frames, 4), without what the case lacks."""
    grids, merges = case.get('grid_sizes'), case.get('merge_sizes')
    if grids is None:
        return identical('frame sizes', sizes[:, 3], merges)
    if merges is None:
        return identical('frame sizes', sizes[:, :3], grids)
    return identical('frame sizes', sizes, np.column_stack((grids, merges)))


def _row(case: GoldenCase) -> np.ndarray | None:
    ids = case.get('input_ids')
    return None if ids is None else ids.reshape(-1)


def _images_alone(case: GoldenCase) -> Message:
    """A message that stands in for a prompt that is not given, so that the images can still be
    preprocessed.
    """
    parts: tuple[Part, ...] = tuple(ImagePart() for _ in case.images)
    return Message('user', (*parts, VideoPart(None, len(case.frames))) if case.frames else parts)


def _own_patches(
    case: GoldenCase, messages: list[Message], checkpoint: Checkpoint | Bundle
) -> tuple[FramePatches, ...]:
    processor = _processor(case, checkpoint.shape.processor)
    shape = dataclasses.replace(checkpoint.shape, processor=processor)
    preprocessor = Preprocessor(shape, checkpoint.tokenizer, VisualConfig())
    return preprocessor.messages_inputs(
        messages, list(_images(case, messages)), case.number('max_tokens', processor.max_tokens)
    ).frames


def _images(case: GoldenCase, messages: Sequence[Message]) -> Iterator[ImageInput]:
    """Yields what each part of the prompt shows, in order. When the case has fewer images than its
    prompt, too few come, and the preprocessing refuses them.
    """
    images = iter(case.images)
    for part in (part for message in messages for part in message.parts):
        if isinstance(part, ImagePart):
            yield from itertools.islice(images, 1)
        elif isinstance(part, VideoPart):
            yield case.frames


def _processor(case: GoldenCase, processor: ProcessorShape) -> ProcessorShape:
    """The processor with the case's merge size for the kind of input that the case has."""
    if case.get('merge_size') is None:
        return processor
    if case.frames:
        return dataclasses.replace(processor, video_merge_size=case.number('merge_size', 1))
    return dataclasses.replace(processor, image_merge_size=case.number('merge_size', 1))


def _reference_patches(case: GoldenCase) -> tuple[FramePatches, ...]:
    pixels = case.get('pixel_values')
    grids = case.get('grid_sizes')
    if pixels is None or grids is None:
        if '<image>' in (case.text('prompt') or ''):
            raise GoldenValuesError(
                f'case {case.name} cannot be run',
                'its prompt has images, but it gives neither image nor '
                'frames, nor pixel_values with grid_sizes',
            )
        return ()
    merges = case.get('merge_sizes')
    frames = []
    first = 0
    for index, (_, rows, columns) in enumerate(grids.tolist()):
        merge = case.number('merge_size', 1) if merges is None else int(merges[index])
        frames.append(
            FramePatches(
                pixels[first : first + rows * columns].astype(np.float32), rows, columns, merge
            )
        )
        first += rows * columns
    return tuple(frames)


def _reference_prompt(
    case: GoldenCase, frames: tuple[FramePatches, ...], image_token_id: int
) -> Prompt:
    ids = np.asarray(_row(case), np.int64)
    places = np.flatnonzero(ids == image_token_id)
    firsts = np.cumsum([0, *(frame.tokens for frame in frames)])[:-1]
    return Prompt('', ids, tuple(int(places[first]) for first in firsts if first < len(places)))
