# SPDX-License-Identifier: Apache-2.0
"""Decodes the JPEG and PNG bytes of messages into RGB arrays, and nothing that is larger than
allowed.

A file is recognised by its first bytes; the `format` text of sensor_msgs/CompressedImage is only
quoted, never trusted.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from penguin_ros.errors import CorruptImage, ImageError, ImageTooLarge, UnsupportedEncoding
from penguin_ros.frame import Image
from penguin_ros.media.raw import flat_bytes, gray16_to_rgb

if TYPE_CHECKING:
    import PIL.Image

_SIGNATURES = {'JPEG': b'\xff\xd8\xff', 'PNG': b'\x89PNG\r\n\x1a\n'}
_OTHER_FORMATS = (
    'webp',
    'tiff',
    'depth',
    'h264',
    'h265',
    'hevc',
    'av1',
    'theora',
    'ffmpeg',
    'gif',
    'bmp',
    'jxl',
    'avif',
)


def decode_compressed(data: object, max_pixels: int, label: str = '') -> Image:
    """Returns the image as (height, width, 3) uint8 RGB, C-contiguous, turned as its EXIF
    orientation says.

    `data` is what raw.flat_bytes takes; `label` is the message's format text, for the error only.
    The size is read from the header and checked against `max_pixels` before anything is decoded.
    16-bit gray is scaled to 8 bit. Raises CorruptImage (empty, truncated, undecodable),
    ImageTooLarge, UnsupportedEncoding.
    """
    content = flat_bytes(data).tobytes()
    kind = _sniffed(content, label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow warns of what is refused or raised here anyway
            return _decoded(content, kind, max_pixels)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        raise CorruptImage(
            f'a {kind} image of {len(content)} bytes', f'it does not decode: {error}'
        ) from error


def _sniffed(content: bytes, label: str) -> str:
    """Returns 'JPEG' or 'PNG'; raises the error for anything else."""
    if not content:
        raise CorruptImage('a compressed image', 'it is empty')
    for kind, signature in _SIGNATURES.items():
        if content.startswith(signature):
            return kind
    what = f'a compressed image of format {label!r} that starts with bytes {content[:8].hex(" ")}'
    if any(name in label.lower() for name in _OTHER_FORMATS):
        raise UnsupportedEncoding(what, 'only JPEG and PNG are decoded', 'Publish one of these')
    raise CorruptImage(what, 'that is neither JPEG nor PNG')


def _decoded(content: bytes, kind: str, max_pixels: int) -> Image:
    import PIL.Image
    import PIL.ImageOps

    try:
        image = PIL.Image.open(io.BytesIO(content), formats=(kind,))  # reads the header only
    except PIL.Image.DecompressionBombError as error:
        raise ImageTooLarge(f'a {kind} image of {len(content)} bytes', f'{error}') from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageTooLarge(
                f'a {kind} image of {width}x{height} pixels',
                f'at most {max_pixels} pixels are allowed',
                'Send a smaller image',
            )
        return _rgb(PIL.ImageOps.exif_transpose(image))


def _rgb(image: PIL.Image.Image) -> Image:
    if image.mode.startswith('I'):  # 16-bit gray PNG; convert('RGB') would clip it at 255
        return gray16_to_rgb(np.clip(np.asarray(image), 0, 65535))
    return np.ascontiguousarray(image.convert('RGB'), dtype=np.uint8)
