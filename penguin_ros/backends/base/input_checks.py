# SPDX-License-Identifier: Apache-2.0
"""What every backend refuses before it computes, with the numbers. No inference library is imported
here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.backends.base.backend import Branch, Chunk, FeatureSpan
from penguin_ros.errors import BackendError
from penguin_ros.model_inputs import FramePatches


def check_frames(frames: Sequence[FramePatches], patch_values: int) -> None:
    """Raises BackendError unless each frame has rows * columns patches of `patch_values` float32
    and a grid that merges evenly.
    """
    for index, frame in enumerate(frames):
        values = frame.values
        shape, grid = values.shape, f'a grid of {frame.rows} x {frame.columns}'
        merge = frame.merge_size
        if min(frame.rows, frame.columns, merge) < 1 or frame.rows % merge or frame.columns % merge:
            raise BackendError(
                f'frame {index} has {grid}',
                f'both must be positive multiples of its merge size {merge}',
            )
        dtype = np.float32 if frame.levels is None else np.uint8
        if shape != (frame.rows * frame.columns, patch_values) or values.dtype != dtype:
            raise BackendError(
                f'frame {index} has pixels {shape} {values.dtype}',
                f'{grid} needs ({frame.rows * frame.columns}, {patch_values}) {np.dtype(dtype)}',
            )


def check_stage(stage: str) -> None:
    """Raises BackendError unless features have such a stage."""
    if stage not in ('projected', 'encoded'):
        raise BackendError(
            f'unknown stage {stage!r} of features', "there are 'projected' and 'encoded'"
        )


def check_chunk(chunk: Chunk, vocabulary_size: int) -> None:
    """Raises BackendError unless `chunk` has an id, all ids are in the vocabulary, and its spans
    lie inside it and their features.
    """
    ids = chunk.token_ids
    if ids.ndim != 1 or ids.size == 0 or ids.dtype.kind not in 'iu':
        raise BackendError(
            f'token ids of shape {ids.shape} {ids.dtype}',
            'a chunk is one row of at least one integer',
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary_size:
        raise BackendError(
            f'token id {low if low < 0 else high} is out of range',
            f'the vocabulary has {vocabulary_size} entries',
        )
    end = 0
    for span in sorted(chunk.spans, key=lambda each: each.offset):
        _check_span(span, end, ids.size)
        end = span.offset + span.count


def _check_span(span: FeatureSpan, low: int, high: int) -> None:
    if span.count < 1 or span.offset < low or span.offset + span.count > high:
        raise BackendError(
            f'a feature span at {span.offset} .. {span.offset + span.count} is out of range',
            f'here it may lie in {low} .. {high}; spans are not empty and do not overlap',
        )
    if span.first < 0 or span.first + span.count > span.features.tokens:
        raise BackendError(
            f'rows {span.first} .. {span.first + span.count} of features are out of range',
            f'they have {span.features.tokens} rows',
        )


def check_branch(branch: Branch, vocabulary_size: int) -> None:
    """Raises BackendError unless a branch is a sound chunk and its logits lie inside it."""
    check_chunk(Chunk(branch.token_ids), vocabulary_size)
    logit_indices(branch.logits_indices, len(branch.token_ids))


def logit_indices(logits_indices: Sequence[int], num_tokens: int) -> list[int]:
    """Returns `logits_indices` as indices 0 .. num_tokens - 1 into a chunk; BackendError when one
    is out of range.
    """
    for index in logits_indices:
        if not -num_tokens <= index < num_tokens:
            raise BackendError(
                f'logits at {index} are out of range', f'the chunk has {num_tokens} positions'
            )
    return [int(index) % num_tokens for index in logits_indices]
