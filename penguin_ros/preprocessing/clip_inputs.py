# SPDX-License-Identifier: Apache-2.0
"""Makes the inputs of the model from a question and what it is about: a clip, as a video, or single
images.

They keep the settings' token budget, unless `max_tokens` is given: then every number is the
reference's for that budget, even where its rounding and floor exceed it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.config import VisualConfig
from penguin_ros.errors import ImageShapeError, TokenCountMismatch, TooManyImages
from penguin_ros.frame import Clip, Frame, Image, is_image
from penguin_ros.model_inputs import FramePatches, ModelInputs
from penguin_ros.preprocessing.dialogue import (
    AnsweredTurn,
    Turn,
    dialogue_inputs,
    lasting_tokens,
)
from penguin_ros.preprocessing.frame_plan import (
    FramePlan,
    PatchUnit,
    exact_image_plan,
    exact_video_plan,
    image_plan,
    image_unit,
    video_plan_steps,
    video_unit,
)
from penguin_ros.preprocessing.patches import to_patches
from penguin_ros.preprocessing.prompt import (
    ImagePart,
    Message,
    Part,
    TextPart,
    VideoPart,
    VisualPart,
    render,
)
from penguin_ros.steps import run_to_end

ImageInput = Image | Frame | Sequence[Image] | Sequence[Frame]
"""What a part shows: for an ImagePart an image (height, width, 3) uint8 RGB, for a VideoPart one
such image per frame, all of one size. A Frame remembers its digest, so that its features are found
again without reading its pixels.
"""

InputSteps = Generator[None, None, ModelInputs]


@dataclass(frozen=True, eq=False)
class _Visual:
    """A part of a message with its frames and the plan for them."""

    part: VisualPart
    frames: tuple[Frame, ...]
    plan: FramePlan

    @property
    def shown_frames(self) -> tuple[Frame, ...]:
        """The frames that the plan keeps."""
        return tuple(self.frames[index] for index in self.plan.indices)

    @property
    def shown_part(self) -> VisualPart:
        """The part without the frames that the plan leaves out."""
        if isinstance(self.part, ImagePart) or len(self.plan.indices) == self.part.frames:
            return self.part
        labels = self.part.timestamps
        return VideoPart(
            labels and tuple(labels[index] for index in self.plan.indices), len(self.plan.indices)
        )


class Preprocessor:
    """Makes model inputs for one checkpoint under one set of visual settings. It holds no state and
    may be used on any thread.
    """

    def __init__(
        self, shape: CheckpointShape, tokenizer: PenguinTokenizer, visual: VisualConfig
    ) -> None:
        self._shape = shape
        self._tokenizer = tokenizer
        self._visual = visual

    @property
    def video_factor(self) -> int:
        """Height and width of a video's frames, as the model sees them, are multiples of it."""
        return video_unit(self._shape.processor).factor

    def clip_inputs(self, clip: Clip, question: str, max_tokens: int | None = None) -> ModelInputs:
        """Makes the inputs of a clip and a question behind it; the clip is a video labelled with
        seconds since its oldest frame.
        """
        return run_to_end(self.clip_steps(clip, question, max_tokens))

    def clip_steps(
        self,
        clip: Clip,
        question: str,
        max_tokens: int | None = None,
        plan: FramePlan | None = None,
    ) -> InputSteps:
        """Does the work of clip_inputs with a yield after each frame; `plan`: the frames' types and
        sizes, where they were decided before.
        """
        video = VideoPart(clip.seconds_from_start, len(clip.frames))
        messages = [Message('user', (video, TextPart(question)))]
        if plan is not None:
            return self._rendered(messages, [_Visual(video, clip.frames, plan)])
        return self._steps(messages, [clip.frames], max_tokens)

    def questions_steps(
        self, clip: Clip, questions: Sequence[str], plan: FramePlan | None = None
    ) -> Generator[None, None, list[ModelInputs]]:
        """Makes the inputs of a clip and each of several questions, which share its frames; see
        clip_steps.
        """
        video = VideoPart(clip.seconds_from_start, len(clip.frames))
        dialogues = [[Message('user', (video, TextPart(question)))] for question in questions]
        if plan is not None:
            visuals = [_Visual(video, clip.frames, plan)]
        else:
            visuals = yield from self._visuals(dialogues[0], [clip.frames], None)
        frames = yield from self._prepared(visuals)
        return [self._inputs(messages, visuals, frames) for messages in dialogues]

    def clip_turn_steps(
        self, clip: Clip, question: str, plan: FramePlan | None = None
    ) -> Generator[None, None, Turn]:
        """Makes a turn of a dialogue from a clip and a question; see clip_steps."""
        video = VideoPart(clip.seconds_from_start, len(clip.frames))
        visuals = [_Visual(video, clip.frames, plan)] if plan is not None else None
        return (yield from self._turn_steps((video,), [clip.frames], question, visuals))

    def images_turn_steps(
        self, images: Sequence[Image], question: str
    ) -> Generator[None, None, Turn]:
        """Makes a turn of a dialogue from single images and a question."""
        parts = tuple(ImagePart() for _ in images)
        return (yield from self._turn_steps(parts, images, question))

    def dialogue_inputs(
        self, earlier: Sequence[AnsweredTurn], newest: Turn, is_lasting: bool = True
    ) -> ModelInputs:
        """Makes the inputs of a turn behind earlier ones, each with the frames that it brought."""
        image_token_id = self._shape.image_token_id
        return dialogue_inputs(earlier, newest, self._tokenizer, image_token_id, is_lasting)

    def clip_patches(self, clip: Clip, plan: FramePlan) -> tuple[FramePatches, ...]:
        """Returns the frames of a clip as clip_steps makes them, their pixels not yet computed."""
        video = VideoPart(None, len(clip.frames))
        return tuple(self._patches(_Visual(video, clip.frames, plan)))

    def images_inputs(
        self, images: Sequence[Image], question: str, max_tokens: int | None = None
    ) -> ModelInputs:
        """Makes the inputs of single images, in order, and a question behind them."""
        return run_to_end(self.images_steps(images, question, max_tokens))

    def images_steps(
        self, images: Sequence[Image], question: str, max_tokens: int | None = None
    ) -> InputSteps:
        """Does the work of images_inputs with a yield after each image."""
        parts: list[Part] = [*(ImagePart() for _ in images), TextPart(question)]
        return self._steps([Message('user', tuple(parts))], images, max_tokens)

    def messages_inputs(
        self,
        messages: Sequence[Message],
        visuals: Sequence[ImageInput],
        max_tokens: int | None = None,
    ) -> ModelInputs:
        """Makes the inputs of a dialogue; `visuals` holds what its ImageParts and VideoParts show,
        in order, and these share the budget equally.

        Raises TokenCountMismatch when parts and images differ in number, ImageShapeError for images
        that are unusable or, in a video, of several sizes, TooManyImages when there are more parts
        than visual tokens.
        """
        return run_to_end(self._steps(messages, visuals, max_tokens))

    def planned_steps(
        self,
        messages: Sequence[Message],
        visuals: Sequence[ImageInput],
        plans: Sequence[FramePlan | None],
        is_lasting: bool = False,
    ) -> Generator[None, None, tuple[ModelInputs, tuple[Frame, ...]]]:
        """Does the work of messages_inputs with a yield after each frame, and returns the frames as
        the model sees them, too. `plans`: for each part the one that was made before, or None.
        """
        shown = yield from self._visuals(messages, visuals, None, plans)
        inputs = yield from self._rendered(messages, shown)
        if is_lasting:
            inputs = replace(inputs, lasting_tokens=lasting_tokens(inputs.prompt, self._tokenizer))
        return inputs, tuple(frame for visual in shown for frame in visual.shown_frames)

    def _steps(
        self, messages: Sequence[Message], visuals: Sequence[ImageInput], max_tokens: int | None
    ) -> InputSteps:
        shown = yield from self._visuals(messages, visuals, max_tokens)
        return (yield from self._rendered(messages, shown))

    def _turn_steps(
        self,
        parts: tuple[VisualPart, ...],
        shown: Sequence[ImageInput],
        question: str,
        visuals: list[_Visual] | None = None,
    ) -> Generator[None, None, Turn]:
        if visuals is None:
            visuals = yield from self._visuals([Message('user', parts)], shown, None)
        frames = yield from self._prepared(visuals)
        return Turn(
            tuple(visual.shown_part for visual in visuals),
            question,
            frames,
            any(visual.plan.is_truncated for visual in visuals),
            tuple(index for visual in visuals for index in visual.plan.indices),
        )

    def _patches(self, visual: _Visual) -> Iterator[FramePatches]:
        merge_size, plan = self._unit(visual.part).merge_size, visual.plan
        for index, size, kind in zip(plan.indices, plan.sizes, plan.types, strict=True):
            yield to_patches(visual.frames[index], size, merge_size, self._shape.processor, kind)

    def _rendered(self, messages: Sequence[Message], visuals: Sequence[_Visual]) -> InputSteps:
        frames = yield from self._prepared(visuals)
        return self._inputs(messages, visuals, frames)

    def _prepared(
        self, visuals: Sequence[_Visual]
    ) -> Generator[None, None, tuple[FramePatches, ...]]:
        frames: list[FramePatches] = []
        for visual in visuals:
            for patches in self._patches(visual):
                frames.append(patches)
                yield
        return tuple(frames)

    def _inputs(
        self,
        messages: Sequence[Message],
        visuals: Sequence[_Visual],
        frames: tuple[FramePatches, ...],
    ) -> ModelInputs:
        prompt = render(
            _as_shown(messages, visuals),
            self._tokenizer,
            [frame.tokens for frame in frames],
            self._shape.image_token_id,
        )
        return ModelInputs(
            prompt,
            frames,
            self._shape.image_token_id,
            any(visual.plan.is_truncated for visual in visuals),
            tuple(index for visual in visuals for index in visual.plan.indices),
        )

    def _visuals(
        self,
        messages: Sequence[Message],
        visuals: Sequence[ImageInput],
        max_tokens: int | None,
        given: Sequence[FramePlan | None] = (),
    ) -> Generator[None, None, list[_Visual]]:
        parts = [
            part for message in messages for part in message.parts if not isinstance(part, TextPart)
        ]
        given = given or [None] * len(parts)
        frames = _matched(parts, visuals)
        for of_part, plan in zip(frames, given, strict=True):
            if plan is None:
                _check_one_size(of_part)
        images = [tuple(frame.image for frame in of_part) for of_part in frames]
        if max_tokens is not None:
            plans = self._exact_plans(parts, images, max_tokens)
        else:
            plans = yield from self._plans(parts, images, given)
        return [_Visual(*of_part) for of_part in zip(parts, frames, plans, strict=True)]

    def _plans(
        self,
        parts: Sequence[VisualPart],
        images: Sequence[tuple[Image, ...]],
        given: Sequence[FramePlan | None],
    ) -> Generator[None, None, list[FramePlan]]:
        count, budget = len(parts), self._visual.max_visual_tokens
        if count > budget:
            raise TooManyImages(
                f'{count} images',
                f'they share {budget} visual tokens',
                'Send fewer images or raise visual.max_visual_tokens',
            )
        plans: list[FramePlan] = []
        for part, of_part, plan in zip(parts, images, given, strict=True):
            if plan is not None:
                plans.append(plan)
            elif isinstance(part, ImagePart):
                plans.append(image_plan(of_part[0], count, self._unit(part), self._visual))
            else:
                share = replace(self._visual, max_visual_tokens=budget // count)
                plans.append((yield from video_plan_steps(of_part, self._unit(part), share)))
        return plans

    def _exact_plans(
        self, parts: Sequence[VisualPart], images: Sequence[tuple[Image, ...]], max_tokens: int
    ) -> list[FramePlan]:
        """Plans as the reference does: images of one prompt all take the size of the first."""
        least, count = self._shape.processor.min_tokens, len(parts)
        return [
            exact_image_plan(images[0][0], count, self._unit(part), least, max_tokens)
            if isinstance(part, ImagePart)
            else exact_video_plan(of_part, self._unit(part), least, max_tokens / count)
            for part, of_part in zip(parts, images, strict=True)
        ]

    def _unit(self, part: VisualPart) -> PatchUnit:
        processor = self._shape.processor
        return image_unit(processor) if isinstance(part, ImagePart) else video_unit(processor)


def _matched(parts: Sequence[VisualPart], visuals: Sequence[ImageInput]) -> list[tuple[Frame, ...]]:
    """Returns the frames of each part, checked."""
    images = [
        (visual,) if isinstance(part, ImagePart) or isinstance(visual, Frame) else tuple(visual)
        for part, visual in zip(parts, visuals, strict=False)
    ]
    expected = [1 if isinstance(part, ImagePart) else part.frames for part in parts]
    got = [len(of_part) for of_part in images]
    if expected != got or len(parts) != len(visuals):
        raise TokenCountMismatch(sum(expected), sum(got) + len(visuals) - len(images))
    return [tuple(_frame(image) for image in of_part) for of_part in images]


def _frame(image: Any) -> Frame:
    """Makes a frame of an array, which is checked; a Frame was checked where it was made."""
    if isinstance(image, Frame):
        return image
    if not is_image(image):
        raise ImageShapeError(
            f'an array of shape {image.shape} and type {image.dtype} is no image',
            'images are (height, width, 3) uint8 RGB with at least one pixel',
        )
    return Frame(0, image)


def _check_one_size(frames: Sequence[Frame]) -> None:
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise ImageShapeError(
            'the frames of a video differ in size',
            f'{sizes[0]} and {sizes[-1]} (height, width)',
            'Make a clip of frames of one size',
        )


def _as_shown(messages: Sequence[Message], visuals: Sequence[_Visual]) -> list[Message]:
    """Returns the messages without the frames that were left out."""
    shown = iter(visuals)
    return [
        Message(
            message.role,
            tuple(
                part if isinstance(part, TextPart) else next(shown).shown_part
                for part in message.parts
            ),
        )
        for message in messages
    ]
