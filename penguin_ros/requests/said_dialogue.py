# SPDX-License-Identifier: Apache-2.0
"""A dialogue that a request brings on its way to the model: checked, then as prompt and frames."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from penguin_ros.dialogue import SaidMessage, Shown, ShownImage, ShownVideo
from penguin_ros.errors import ImageShapeError, InvalidRequest, QuestionTooLong
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import ImageInput, Preprocessor
from penguin_ros.preprocessing.frame_plan import FramePlan
from penguin_ros.preprocessing.prompt import ImagePart, Message, Part, TextPart, VideoPart
from penguin_ros.text import cleaned

ROLES = ('system', 'user', 'assistant')


def checked_dialogue(said: Sequence[SaidMessage], max_characters: int) -> tuple[SaidMessage, ...]:
    """Returns the dialogue with cleaned texts; InvalidRequest, QuestionTooLong."""
    size = sum(len(message.text) for message in said)
    if size > max_characters:
        raise QuestionTooLong(
            f'the messages have {size} characters',
            f'{max_characters} are taken (question.max_characters)',
            'Leave out earlier messages',
        )
    if said[-1].role != 'user' or not all(message.role in ROLES for message in said):
        raise InvalidRequest(
            'the roles of the messages do not fit',
            f"they are {', '.join(ROLES)}, and the last message is the user's",
        )
    return tuple(
        replace(
            message,
            parts=tuple(cleaned(part) if isinstance(part, str) else part for part in message.parts),
        )
        for message in said
    )


def said_inputs(
    said: Sequence[SaidMessage], preprocessor: Preprocessor
) -> Generator[None, None, tuple[ModelInputs, tuple[Frame, ...]]]:
    """Makes the model's inputs, with a yield after each frame; returns them with the frames that
    the model sees. What has been answered before is kept for the turns to come.
    """
    shown = [part for message in said for part in message.parts if not isinstance(part, str)]
    messages = [
        Message(message.role, tuple(_part(part) for part in message.parts)) for message in said
    ]
    is_lasting = any(message.role == 'assistant' for message in said)
    plans = [_plan(each, preprocessor.video_factor) for each in shown]
    visuals = [_visual(each) for each in shown]
    return (yield from preprocessor.planned_steps(messages, visuals, plans, is_lasting))


def is_left_out(said: Sequence[SaidMessage]) -> bool:
    """Tells whether whoever planned the videos left frames out."""
    parts = (part for message in said for part in message.parts)
    return any(isinstance(part, ShownVideo) and part.is_truncated for part in parts)


def _part(part: str | Shown) -> Part:
    if isinstance(part, str):
        return TextPart(part)
    if isinstance(part, ShownImage):
        return ImagePart()
    return VideoPart(_labels(part), len(part.frames))


def _labels(video: ShownVideo) -> tuple[float, ...] | None:
    """Seconds since the first frame, as in a clip of the node."""
    if not video.has_times:
        return None
    start_ns = video.frames[0].stamp_ns
    return tuple((frame.stamp_ns - start_ns) / NANOSECONDS for frame in video.frames)


def _visual(shown: Shown) -> ImageInput:
    if isinstance(shown, ShownVideo):
        return shown.frames
    # A part that is one image takes the pixels; its frame keeps the digest.
    return shown.frame


def _plan(shown: Shown, factor: int) -> FramePlan | None:
    if isinstance(shown, ShownImage) or not shown.types:
        return None
    for size in shown.sizes:
        if min(size) < factor or any(side % factor for side in size):
            raise ImageShapeError(
                f'a frame is planned at {size[0]} x {size[1]} pixels',
                f'height and width are multiples of {factor} for this model',
                'Plan with the settings of the same model, or leave the plan out',
            )
    return FramePlan(tuple(range(len(shown.frames))), shown.types, shown.sizes, shown.is_truncated)
