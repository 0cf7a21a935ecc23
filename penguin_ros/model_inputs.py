# SPDX-License-Identifier: Apache-2.0
"""What preprocessing hands to generation: patches of frames, a prompt, and both together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import TokenCountMismatch
from penguin_ros.frame import FrameType

Pixels = NDArray[np.float32]
"""(rows * columns, 3 * patch * patch) float32, normalised, patches in merge-block order, each patch
as (channel, y, x).
"""


@dataclass(frozen=True, eq=False)
class Levels:
    """Pixels before they are normalised: `values` (rows * columns, 3 * patch * patch) uint8, which
    lie as Pixels do, and what each level becomes by channel, `table` (3, 256) float32.
    """

    values: NDArray[np.uint8]
    table: NDArray[np.float32]

    def normalised(self) -> Pixels:
        """Looks each level up."""
        levels = self.values.reshape(len(self.values), 3, -1)
        pixels = np.empty(levels.shape, np.float32)
        for channel in range(3):
            pixels[:, channel] = self.table[channel][levels[:, channel]]
        return pixels.reshape(len(pixels), -1)


Source = Pixels | Levels


@dataclass(frozen=True, eq=False)
class FramePatches:
    """One frame, ready for the encoder.

    `source`: the pixels, as they are or not yet normalised, or a function that makes them when they
    are first asked for. `rows` and `columns` of the patch grid are multiples of `merge_size`.
    `content`: bytes that stand for the pixels; when it is empty, the key is made from the pixels.
    """

    source: Source | Callable[[], Source]
    rows: int
    columns: int
    merge_size: int
    type: FrameType = FrameType.KEY
    content: bytes = b''

    @property
    def _made(self) -> Source:
        """What the source gives, kept. A cached_property of Python 3.11 and before has one lock for
        all frames, and threads make several at once.
        """
        if '_kept' not in self.__dict__:
            self.__dict__['_kept'] = self.source() if callable(self.source) else self.source
        kept: Source = self.__dict__['_kept']
        return kept

    @cached_property
    def pixels(self) -> Pixels:
        """The patches, as Pixels says."""
        return self._made.normalised() if isinstance(self._made, Levels) else self._made

    def reduced(self) -> FramePatches:
        """Returns the same patches, computed, without the image that they were made from."""
        return replace(self, source=self._made)

    @property
    def levels(self) -> Levels | None:
        """The patches before they are normalised, where they are known as that."""
        return self._made if isinstance(self._made, Levels) else None

    @property
    def values(self) -> NDArray[Any]:
        """The patches as the source has them: levels (uint8), or pixels."""
        return self._made.values if isinstance(self._made, Levels) else self._made

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
    `lasting_tokens`: how many first positions a conversation goes on from, 0 where none does.
    """

    prompt: Prompt
    frames: tuple[FramePatches, ...]
    image_token_id: int
    is_truncated: bool = False
    frame_indices: tuple[int, ...] = ()
    lasting_tokens: int = 0

    def __post_init__(self) -> None:
        placeholders = int((self.prompt.token_ids == self.image_token_id).sum())
        if placeholders != self.visual_tokens or len(self.prompt.image_starts) != len(self.frames):
            raise TokenCountMismatch(placeholders, self.visual_tokens)

    @property
    def visual_tokens(self) -> int:
        """Number of visual tokens of all frames."""
        return sum(frame.tokens for frame in self.frames)
