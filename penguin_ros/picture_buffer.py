# SPDX-License-Identifier: Apache-2.0
"""Small JPEG pictures of a camera's last seconds, found again by the stamps of frames.

Bounded by time and bytes; any thread may use it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from penguin_ros.errors import ImageError
from penguin_ros.frame import NANOSECONDS, Image


@dataclass(frozen=True)
class Picture:
    """A JPEG file and the stamp of its frame."""

    stamp_ns: int
    jpeg: bytes


def jpeg_picture(stamp_ns: int, image: Image, longer_side: int, quality: int) -> Picture:
    """Returns the image as a JPEG whose longer side has at most that many pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, longer_side / max(height, width))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bgr: Any = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    is_encoded, jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise ImageError('a picture could not be written as JPEG', f'{width} x {height} pixels')
    return Picture(stamp_ns, jpeg.tobytes())


class PictureBuffer:
    """Keeps pictures of the last `keep_seconds`, at most `max_bytes` of them; the oldest go first.

    When a picture is older than all of them by more than that, time has jumped and they leave.
    """

    def __init__(self, keep_seconds: float, max_bytes: int) -> None:
        self._keep_ns = round(keep_seconds * NANOSECONDS)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._pictures: dict[int, Picture] = {}
        self._bytes = 0

    @property
    def size(self) -> tuple[int, int]:
        """How many pictures there are, and their bytes."""
        with self._lock:
            return len(self._stamps), self._bytes

    def add(self, picture: Picture) -> None:
        """Takes a picture; one with the stamp of another takes its place."""
        with self._lock:
            stamp = picture.stamp_ns
            if self._stamps and stamp < self._stamps[-1] - self._keep_ns:
                self._drop(len(self._stamps))
            if stamp in self._pictures:
                self._bytes -= len(self._pictures[stamp].jpeg)
            else:
                insort(self._stamps, stamp)
            self._pictures[stamp] = picture
            self._bytes += len(picture.jpeg)
            self._drop(bisect_left(self._stamps, self._stamps[-1] - self._keep_ns))
            while self._bytes > self._max_bytes:
                self._drop(1)

    def nearest(self, stamps_ns: Iterable[int], tolerance_ns: int) -> Picture | None:
        """Returns the picture of the first stamp that has one of its own; else the one that is
        nearest to any of them, by `tolerance_ns` at most.
        """
        wanted = list(stamps_ns)
        with self._lock:
            for stamp in wanted:
                if stamp in self._pictures:
                    return self._pictures[stamp]
            near = [
                (abs(candidate - stamp), place, candidate)
                for place, stamp in enumerate(wanted)
                for candidate in self._around(stamp)
                if abs(candidate - stamp) <= tolerance_ns
            ]
            return self._pictures[min(near)[2]] if near else None

    def clear(self) -> None:
        """Forgets all pictures."""
        with self._lock:
            self._drop(len(self._stamps))

    def _around(self, stamp_ns: int) -> list[int]:
        place = bisect_left(self._stamps, stamp_ns)
        return self._stamps[max(0, place - 1) : place + 1]

    def _drop(self, count: int) -> None:
        for stamp in self._stamps[:count]:
            self._bytes -= len(self._pictures.pop(stamp).jpeg)
        del self._stamps[:count]
