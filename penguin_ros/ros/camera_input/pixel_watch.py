# SPDX-License-Identifier: Apache-2.0
"""Looks at pixels for what no stamp tells: images that stay the same to the last byte, and 16-bit
images that use a small part of their range.

Everything runs on the executor's thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penguin_ros.errors import ImageShapeError
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.media.convert import is_16_bit
from penguin_ros.media.raw import flat_bytes
from penguin_ros.ros.camera_input.observation import PixelFacts

FROZEN_IMAGES = 5
"""So many images at least must be the same."""
DARK_LEVEL = 18
"""Of 255: 7 percent of the range, a little more than 12 of 16 bit fill."""
DARK_NS = 5 * NANOSECONDS
_GLANCE = 4096


class PixelWatch:
    """Looks at each frame that is used, and says what it found."""

    def __init__(self) -> None:
        self._data: Any = None
        self._same = 0
        self._same_since_ns = 0
        self._same_until_ns = 0
        self._dark_since_ns: int | None = None
        self._dark_until_ns = 0
        self._brightest = 0

    def look(self, message: Any, frame: Frame, now_ns: int) -> None:
        """Looks at the message of a frame; `now_ns` is steady time."""
        if self._is_same(message.data):
            self._same += 1
        else:
            self._same, self._same_since_ns = 1, now_ns
        self._same_until_ns = now_ns
        self._data = message.data
        self._note_brightness(message, frame, now_ns)

    def facts(self) -> PixelFacts:
        """Returns what was found up to the last frame."""
        is_frozen = self._same >= FROZEN_IMAGES
        is_dark = (
            self._dark_since_ns is not None and self._dark_until_ns - self._dark_since_ns >= DARK_NS
        )
        return PixelFacts(
            self._same_until_ns - self._same_since_ns if is_frozen else 0,
            self._brightest * 257 if is_dark else None,
        )

    def _is_same(self, data: Any) -> bool:
        if self._data is None or len(self._data) != len(data):
            return False
        try:
            old, new = flat_bytes(self._data), flat_bytes(data)
        except ImageShapeError:
            return False
        stride = max(1, len(new) // _GLANCE)
        # Most images differ wherever one looks.
        return np.array_equal(old[::stride], new[::stride]) and np.array_equal(old, new)

    def _note_brightness(self, message: Any, frame: Frame, now_ns: int) -> None:
        brightest = int(frame.image.max()) if is_16_bit(message) else 255
        if brightest > DARK_LEVEL:
            self._dark_since_ns, self._brightest = None, 0
            return
        if self._dark_since_ns is None:
            self._dark_since_ns = now_ns
        self._dark_until_ns = now_ns
        self._brightest = max(self._brightest, brightest)
