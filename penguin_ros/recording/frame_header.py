# SPDX-License-Identifier: Apache-2.0
"""Reads what is needed of a serialised image without taking its pixels apart."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from penguin_ros.errors import CorruptImage, PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.media.compressed import compressed_size

CDR_HEAD = 4
"""Bytes before the message; the second says which end comes first."""


@dataclass(frozen=True)
class FrameHeader:
    """The stamp of a frame, and its width and height in pixels as it is shown."""

    stamp_ns: int
    width: int
    height: int


def frame_header(serialised: bytes, is_compressed: bool) -> FrameHeader:
    """Reads sensor_msgs/Image or CompressedImage in CDR; CorruptImage when it is none."""
    try:
        order = '<' if serialised[1] & 1 else '>'
        second, nanosecond = struct.unpack_from(f'{order}iI', serialised, CDR_HEAD)
        place = _after_text(serialised, CDR_HEAD + 8, order)
        if is_compressed:
            place = _after_text(serialised, place, order) + 4
            width, height = compressed_size(serialised[place:])
        else:
            height, width = struct.unpack_from(f'{order}II', serialised, place)
    except (struct.error, IndexError, PenguinError) as error:
        raise CorruptImage('a serialised image', str(error)) from error
    return FrameHeader(second * NANOSECONDS + nanosecond, width, height)


def _after_text(serialised: bytes, place: int, order: str) -> int:
    """Returns the place of a number of four bytes after the text at `place`."""
    (length,) = struct.unpack_from(f'{order}I', serialised, place)
    place += 4 + int(length)
    return place + (CDR_HEAD - place) % 4
