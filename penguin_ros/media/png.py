# SPDX-License-Identifier: Apache-2.0
"""Takes a PNG apart: the chunks that make the picture, checked, without what lies beside it."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import CorruptImage
from penguin_ros.media.orientation import UPRIGHT, exif_orientation

SIGNATURE = b'\x89PNG\r\n\x1a\n'
_NEEDED = (b'IHDR', b'PLTE', b'IDAT')


@dataclass(frozen=True)
class PngParts:
    """A PNG without what its decoder does not need. `depth` is in bits per sample."""

    content: bytes
    width: int
    height: int
    depth: int
    has_colours: bool
    orientation: int


def png_parts(content: bytes) -> PngParts:
    """Takes a PNG apart; CorruptImage when a chunk of the picture is cut off or damaged.

    Chunks beside the picture may be wrong in any way, and its end marker may be missing.
    """
    what, place = f'a PNG image of {len(content)} bytes', len(SIGNATURE)
    needed: list[bytes] = []
    header, orientation = b'', UPRIGHT
    while place + 8 <= len(content):
        (length,), kind = struct.unpack_from('>I', content, place), content[place + 4 : place + 8]
        payload = content[place + 8 : place + 8 + length]
        check = content[place + 8 + length : place + 12 + length]
        if kind == b'IEND':
            break
        is_whole = check == struct.pack('>I', zlib.crc32(kind + payload))
        if kind in _NEEDED and not is_whole:
            how = 'its checksum is wrong' if len(check) == 4 else 'it is truncated there'
            raise CorruptImage(what, f'it is damaged at byte {place}: {how}')
        if kind in _NEEDED or (kind == b'tRNS' and is_whole):
            needed.append(content[place : place + 12 + length])
        if kind == b'IHDR':
            header = payload
        elif kind == b'eXIf':
            orientation = exif_orientation(payload.removeprefix(b'Exif\0\0'))
        place += 12 + length
    if len(header) < 13 or not any(chunk[4:8] == b'IDAT' for chunk in needed):
        raise CorruptImage(what, 'it is truncated: there is no picture in it')
    end = struct.pack('>I', 0) + b'IEND' + struct.pack('>I', zlib.crc32(b'IEND'))
    width, height, depth, colours = struct.unpack_from('>IIBB', header)
    return PngParts(
        SIGNATURE + b''.join([*needed, end]), width, height, depth, bool(colours & 2), orientation
    )


def decode_png(parts: PngParts) -> NDArray[np.uint8 | np.uint16]:
    """Returns (height, width) gray or (height, width, 3) RGB, of 8 or 16 bit."""
    import PIL.Image

    if parts.depth == 16 and parts.has_colours:  # of which Pillow gives the upper bytes alone
        wide = cv2.imdecode(np.frombuffer(parts.content, np.uint8), cv2.IMREAD_UNCHANGED)
        if wide is None:
            raise ValueError('its data is damaged')
        rgb: NDArray[np.uint16] = np.asarray(wide)[:, :, 2::-1].astype(np.uint16)
        return rgb
    with PIL.Image.open(io.BytesIO(parts.content), formats=('PNG',)) as image:
        if image.mode.startswith('I'):  # 16-bit gray; convert('RGB') would clip it at 255
            gray: NDArray[np.uint16] = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
            return gray
        pixels: NDArray[np.uint8] = np.asarray(image if image.mode == 'L' else image.convert('RGB'))
        return pixels
