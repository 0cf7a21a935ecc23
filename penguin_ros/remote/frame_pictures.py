# SPDX-License-Identifier: Apache-2.0
"""Frames as JPEG files at the size at which the model sees them, each encoded once."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image as PillowImage

from penguin_ros.preprocessing.patches import resized
from penguin_ros.remote.question import RemoteFrame

SMALL_PIXELS = 400 * 400
"""Up to here colours are kept at full resolution: a small picture has no detail to spare."""
FULL_COLOUR, HALF_COLOUR = 0, 2
"""Pillow's names for 4:4:4 and 4:2:0."""


@dataclass(frozen=True)
class Picture:
    """A JPEG file in base64; `uuid`: its digest, by which servers know it again."""

    base64: str
    uuid: str


class FramePictures:
    """Pictures of the frames that were sent last, `max_bytes` of them; any thread."""

    def __init__(self, max_bytes: int = 1 << 24) -> None:
        self.encoded = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, tuple[int, int], int], Picture] = OrderedDict()

    def picture(self, frame: RemoteFrame, quality: int) -> Picture:
        """Returns the picture of a frame, encoded now unless it is kept."""
        key = frame.frame.digest, frame.size, quality
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _encoded(frame, quality)
                self.encoded += 1
                self._bytes += len(kept.base64)
                self._evict()
            self._kept.move_to_end(key)
            return kept

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.base64)


def _encoded(frame: RemoteFrame, quality: int) -> Picture:
    image = frame.frame.image
    if frame.size != frame.frame.size:
        image = resized(image, frame.size)
    is_small = image.shape[0] * image.shape[1] <= SMALL_PIXELS
    file = io.BytesIO()
    PillowImage.fromarray(image).save(
        file, 'JPEG', quality=quality, subsampling=FULL_COLOUR if is_small else HALF_COLOUR
    )
    content = file.getvalue()
    return Picture(
        base64.b64encode(content).decode('ascii'),
        hashlib.blake2b(content, digest_size=16).hexdigest(),
    )
