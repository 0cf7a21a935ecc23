# SPDX-License-Identifier: Apache-2.0
"""Frames and clips, the values that travel between the rooms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 1_000_000_000

Image = NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""


def to_nanoseconds(time: Any) -> int:
    """Returns a ROS time or duration, or anything else with `sec` and `nanosec`, in nanoseconds."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def is_image(array: NDArray[Any]) -> bool:
    """True for an Image with at least one pixel."""
    return array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8 and array.size > 0


class FrameType(IntEnum):
    """The role of a frame in its clip (temporal redundancy-aware compression)."""

    KEY = 0
    INTERMEDIATE = 1


@dataclass(frozen=True, eq=False)
class Frame:
    """One image and its stamp.

    `stamp_ns` is the integer time of the message header in nanoseconds, `image` (height, width, 3)
    uint8 RGB, `camera` the configured name, `frame_id` the optical frame of the header.
    """

    stamp_ns: int
    image: Image
    camera: str = ''
    frame_id: str = ''

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.image.shape[0]), int(self.image.shape[1])

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that stand for the pixels and their shape. They are computed once, so the image
        must not change afterwards.
        """
        shape = repr(self.image.shape).encode()
        return hashlib.blake2b(
            np.ascontiguousarray(self.image).data, digest_size=16, key=shape
        ).digest()


@dataclass(frozen=True, eq=False)
class Clip:
    """The frames chosen for one request: at least one, all of one camera and one size, their stamps
    strictly increasing.
    """

    camera: str
    frames: tuple[Frame, ...]

    @property
    def start_ns(self) -> int:
        """Stamp of the oldest frame."""
        return self.frames[0].stamp_ns

    @property
    def end_ns(self) -> int:
        """Stamp of the newest frame."""
        return self.frames[-1].stamp_ns

    @property
    def seconds_from_start(self) -> tuple[float, ...]:
        """Seconds of each frame since the oldest one, which are the time labels of the prompt."""
        return tuple((frame.stamp_ns - self.start_ns) / NANOSECONDS for frame in self.frames)
