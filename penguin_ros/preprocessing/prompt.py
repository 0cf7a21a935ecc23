# SPDX-License-Identifier: Apache-2.0
"""Renders messages as the chat prompt of Penguin-VL, as text and as token ids.

The markup is ours alone: what a message says is plain text for the tokenizer, whatever it looks
like. Between two pieces of markup everything is one string, since byte-level BPE merges across the
border of a label or a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.errors import TokenCountMismatch
from penguin_ros.model_inputs import Prompt

PLACEHOLDER = '<image>'
"""Stands once per frame in the text, once per visual token in the ids."""

TURN_START = '<|im_start|>'
"""Begins what one side says."""


@dataclass(frozen=True)
class TextPart:
    """Plain text; markup in it is text too."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """One image."""


@dataclass(frozen=True)
class VideoPart:
    """A video of `frames` frames; `timestamps`: their labels in seconds, one per frame, if any."""

    timestamps: tuple[float, ...] | None
    frames: int

    def __post_init__(self) -> None:
        if self.frames < 1 or (self.timestamps is not None and len(self.timestamps) != self.frames):
            raise ValueError(
                f'a video of {self.frames} frames cannot have the timestamps {self.timestamps}'
            )


VisualPart = ImagePart | VideoPart
Part = TextPart | VisualPart


@dataclass(frozen=True)
class Message:
    """What one side of the dialogue says; `role` is system, user or assistant."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Piece:
    text: str
    is_markup: bool = False


def render(
    messages: Sequence[Message],
    tokenizer: PenguinTokenizer,
    tokens_per_frame: Sequence[int],
    image_token_id: int,
) -> Prompt:
    """Returns the prompt that asks for the next turn of the assistant, thinking off.

    `tokens_per_frame`: visual tokens of every image and video frame, in order. Raises
    TokenCountMismatch when their number differs from that of the messages' frames.
    """
    pieces = _joined(_prompt_pieces(messages))
    placeholders = sum(piece == _IMAGE for piece in pieces)
    if placeholders != len(tokens_per_frame):
        raise TokenCountMismatch(placeholders, len(tokens_per_frame))
    ids: list[int] = []
    starts: list[int] = []
    for piece in pieces:
        if piece == _IMAGE:
            starts.append(len(ids))
            ids += [image_token_id] * tokens_per_frame[len(starts) - 1]
        else:
            ids += (
                [tokenizer.markup_id(piece.text)]
                if piece.is_markup
                else tokenizer.encode_text(piece.text)
            )
    return Prompt(''.join(piece.text for piece in pieces), np.array(ids, np.int64), tuple(starts))


_IMAGE = _Piece(PLACEHOLDER, is_markup=True)
_START = _Piece(TURN_START, is_markup=True)
_END = _Piece('<|im_end|>', is_markup=True)
_GENERATION = (
    _START,
    _Piece('assistant\n'),
    _Piece('<think>', is_markup=True),
    _Piece('\n\n'),
    _Piece('</think>', is_markup=True),
    _Piece('\n\n'),
)


def _prompt_pieces(messages: Iterable[Message]) -> Iterator[_Piece]:
    for message in messages:
        yield from (_START, _Piece(message.role + '\n'))
        for part in message.parts:
            yield from _part_pieces(part)
        yield from (_END, _Piece('\n'))
    yield from _GENERATION


def _part_pieces(part: Part) -> Iterator[_Piece]:
    if isinstance(part, TextPart):
        yield _Piece(part.text)
    elif isinstance(part, ImagePart):
        yield from (_IMAGE, _Piece('\n'))
    else:
        for frame in range(part.frames):
            if part.timestamps is not None:
                yield _Piece(time_label(part.timestamps[frame]))
            yield from (_IMAGE, _Piece('\n' if frame == part.frames - 1 else ','))


def time_label(seconds: float) -> str:
    """Returns the label before a frame, with one decimal, rounded as Python does (half to even on
    the binary value).
    """
    return f'Time {round(float(seconds), 1)}s:'


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Joins neighbouring plain texts; markup stays apart."""
    joined: list[_Piece] = []
    for is_markup, group in groupby(pieces, key=lambda piece: piece.is_markup):
        texts = [piece.text for piece in group]
        joined += [_Piece(text, is_markup) for text in (texts if is_markup else [''.join(texts)])]
    return joined
