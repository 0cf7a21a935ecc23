# SPDX-License-Identifier: Apache-2.0
"""Decodes the JPEG and PNG bytes of messages into RGB arrays, and nothing that is larger than
allowed.

A file is recognised by its first bytes. What its samples mean stands in the `format` text of
sensor_msgs/CompressedImage alone (format_text.py). What is wrong beside the picture is left out
before it is decoded; what is wrong with the picture is a named error.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
from numpy.typing import NDArray

from penguin_ros.config import BufferConfig
from penguin_ros.errors import (
    CorruptImage,
    ImageError,
    ImageTooLarge,
    UndefinedColours,
    UnsupportedEncoding,
)
from penguin_ros.frame import Image
from penguin_ros.media import jpeg, png
from penguin_ros.media.format_text import FormatText, read_format
from penguin_ros.media.orientation import SIDEWAYS, turned
from penguin_ros.media.raw import (
    WHITE_LEVEL,
    flat_bytes,
    mosaic_to_rgb,
    refuse_undefined,
    samples_to_8_bit,
)

_SIGNATURES = {'JPEG': jpeg.SIGNATURE, 'PNG': png.SIGNATURE}
_OTHER_FORMATS = (
    'webp',
    'tiff',
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
_OBJECT = re.compile(r'<[^<>]*\bobject at 0x[0-9a-fA-F]+>')


def decode_compressed(
    data: object,
    max_pixels: int,
    label: str = '',
    white_level: int = WHITE_LEVEL,
    stored_rgb: str = BufferConfig.stored_rgb,
) -> Image:
    """Returns the image as (height, width, 3) uint8 RGB, C-contiguous, turned as its orientation
    says.

    `data` is what raw.flat_bytes takes; `label` is the message's format text. The size is read from
    the header and checked against `max_pixels` before anything is decoded. 16-bit samples are
    scaled so that `white_level` becomes 255; `stored_rgb` as in BufferConfig. Raises CorruptImage
    (empty, truncated, damaged), ImageTooLarge, UnsupportedEncoding.
    """
    content = flat_bytes(data).tobytes()
    said = read_format(label)
    _refuse_format(said, label, stored_rgb)
    kind = _sniffed(content, label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow warns of what is refused or raised here anyway
            samples, orientation = (
                _jpeg_samples(content, max_pixels)
                if kind == 'JPEG'
                else _png_samples(content, max_pixels)
            )
            image = _rgb(samples, said, white_level)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        raise CorruptImage(
            f'a {kind} image of {len(content)} bytes', f'it does not decode: {_in_words(error)}'
        ) from error
    if said.is_stored_rgb and stored_rgb == 'exchanged':
        image = image[:, :, ::-1]
    return turned(image, orientation)


def compressed_size(data: object) -> tuple[int, int]:
    """Returns the width and height of a JPEG or PNG as it is shown, without decoding it.

    `data` is what raw.flat_bytes takes. CorruptImage or UnsupportedEncoding as decode_compressed.
    """
    content = flat_bytes(data).tobytes()
    if _sniffed(content, '') == 'JPEG':
        parts = jpeg.jpeg_parts(content)
        size, orientation = (parts.frame.width, parts.frame.height), parts.orientation
    else:
        png_file = png.png_parts(content)
        size, orientation = (png_file.width, png_file.height), png_file.orientation
    return size[::-1] if orientation in SIDEWAYS else size


def _refuse_format(said: FormatText, label: str, stored_rgb: str) -> None:
    """Refuses what the format text says is no picture, or leaves open."""
    if said.is_depth:
        raise UndefinedColours(
            f'a compressed image of format {label!r}',
            'it holds distances, not colours or brightness',
            'Give the topic of the colour image',
        )
    refuse_undefined(said.original, f'a compressed image of format {label!r}')
    if said.is_stored_rgb and stored_rgb == 'refuse':
        raise UndefinedColours(
            f'a compressed image of format {label!r}',
            'image_transport reads that as a file with red and blue exchanged, while most cameras '
            'that write it exchange nothing',
            'Set buffer.stored_rgb to as_stored, or to exchanged when red and blue are',
        )


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


def _jpeg_samples(content: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], int]:
    """Returns (height, width) gray or (height, width, 3) RGB, and the orientation."""
    parts = jpeg.jpeg_parts(content)
    _check_size('JPEG', parts.frame.width, parts.frame.height, max_pixels)
    return jpeg.decode_jpeg(parts, content), parts.orientation


def _png_samples(content: bytes, max_pixels: int) -> tuple[NDArray[np.uint8 | np.uint16], int]:
    """Returns (height, width) gray or (height, width, 3) RGB, of 8 or 16 bit, and the
    orientation.
    """
    parts = png.png_parts(content)
    _check_size('PNG', parts.width, parts.height, max_pixels)
    return png.decode_png(parts), parts.orientation


def _check_size(kind: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f'a {kind} image of {width}x{height} pixels',
            f'at most {max_pixels} pixels are allowed',
            'Send a smaller image',
        )


def _rgb(samples: NDArray[np.uint8 | np.uint16], said: FormatText, white_level: int) -> Image:
    pattern = said.bayer_pattern
    if pattern and samples.ndim == 3 and (samples == samples[:, :, :1]).all():
        samples = samples[:, :, 0]  # a mosaic that was stored as a gray picture in colours
    if pattern and samples.ndim == 2:
        return samples_to_8_bit(mosaic_to_rgb(samples, pattern), white_level)
    pixels = samples_to_8_bit(samples, white_level)
    return np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels


def _in_words(error: Exception) -> str:
    """Returns what a library says, without the addresses of its objects."""
    text = _OBJECT.sub('its header', str(error))
    return text or type(error).__name__
