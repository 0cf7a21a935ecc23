# SPDX-License-Identifier: Apache-2.0
"""Finds the orientation in the EXIF or XMP that lies beside a picture, and turns the picture.

Metadata is written by many hands, and what is wrong with it says nothing about the picture: only
this one number is looked for, and whatever cannot be read means that there is none.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from penguin_ros.frame import Image

UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which width and height are exchanged."""
_TAG = 0x0112
_SHORT = 3
_XMP = re.compile(rb'tiff:Orientation\s*(?:=\s*["\']|>)\s*([1-8])')


def exif_orientation(tiff: bytes) -> int:
    """Returns the orientation, 1 to 8, of an EXIF block that begins with its TIFF header; 1 where
    none can be read.
    """
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(tiff[:4])
    try:
        if order is None:
            return UPRIGHT
        (start,) = struct.unpack_from(f'{order}I', tiff, 4)
        (count,) = struct.unpack_from(f'{order}H', tiff, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f'{order}HHIH', tiff, start + 2 + 12 * number)
            if tag == _TAG and kind == _SHORT:
                return value if value in range(1, 9) else UPRIGHT
    except struct.error:  # it ends before what it promises
        pass
    return UPRIGHT


def xmp_orientation(text: bytes) -> int:
    """Returns the orientation that an XMP block names; 1 where it names none."""
    found = _XMP.search(text)
    return int(found[1]) if found else UPRIGHT


def turned(image: Image, orientation: int) -> Image:
    """Returns the picture upright, as (height, width, 3) uint8 RGB, C-contiguous."""
    if orientation in SIDEWAYS:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
