# SPDX-License-Identifier: Apache-2.0
"""What preprocessing hands to generation: patches of frames, a prompt, and both together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import TokenCountMismatch
from penguin_ros.frame import FrameType

Pixels = NDArray[np.float32]
"""(rows * columns, 3 * patch * patch) float32, normalised, patches in merge-block order, each patch
as (channel, y, x).
"""


@dataclass(frozen=True, eq=False)
class FramePatches:
    """One frame, ready for the encoder.

    `source`: the pixels, or a function that makes them when they are first asked for. `rows` and
    `columns` of the patch grid are multiples of `merge_size`. `content`: bytes that stand for the
    pixels; when it is empty, the key is made from the pixels.
    """

    source: Pixels | Callable[[], Pixels]
    rows: int
    columns: int
    merge_size: int
    type: FrameType = FrameType.KEY
    content: bytes = b''

    @cached_property
    def pixels(self) -> Pixels:
        """The patches, as Pixels says."""
        return self.source() if callable(self.source) else self.source

    @cached_property
    def key(self) -> bytes:
        """16 bytes; two frames with the same key have the same features, whatever their type, their
        clip and the other frames in it.
        """
        size = repr((self.rows, self.columns, self.merge_size, len(self.content))).encode()
        content = self.content or np.ascontiguousarray(self.pixels).data
        return hashlib.blake2b(content, digest_size=16, key=size).digest()

    @property
    def tokens(self) -> int:
        """Number of visual tokens, after merging."""
        return (self.rows // self.merge_size) * (self.columns // self.merge_size)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A rendered chat prompt.

    `text` has one placeholder per frame; `token_ids` (n,) int64 has one placeholder per visual
    token; `image_starts` are the positions of each frame's first visual token, in order.
    """

    text: str
    token_ids: NDArray[np.int64]
    image_starts: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """A prompt and its frames; TokenCountMismatch when their visual tokens differ.

    `is_truncated`: frames were left out, or reduced below the floor, to keep the budget.
    `frame_indices`: for each frame its index among the images that it was made from.
    """

    prompt: Prompt
    frames: tuple[FramePatches, ...]
    image_token_id: int
    is_truncated: bool = False
    frame_indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        placeholders = int((self.prompt.token_ids == self.image_token_id).sum())
        if placeholders != self.visual_tokens or len(self.prompt.image_starts) != len(self.frames):
            raise TokenCountMismatch(placeholders, self.visual_tokens)

    @property
    def visual_tokens(self) -> int:
        """Number of visual tokens of all frames."""
        return sum(frame.tokens for frame in self.frames)
