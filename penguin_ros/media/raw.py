# SPDX-License-Identifier: Apache-2.0
"""Converts the raw images of messages to RGB arrays.

Imports no ROS: anything with the fields of sensor_msgs/Image will do.
"""

from __future__ import annotations

import array
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import ImageShapeError, UndefinedColours, UnsupportedEncoding
from penguin_ros.frame import Image

Pixels = NDArray[Any]
ToRgb = Callable[[Pixels], Pixels]

WHITE_LEVEL = 65535
"""The 16-bit sample that becomes white, unless a setting says otherwise."""


class RawImage(Protocol):
    """The fields of sensor_msgs/Image that describe pixels."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True)
class Encoding:
    """How one encoding lies in memory, and the conversion to RGB.

    `channels` counts samples per pixel, `sample_bytes` the bytes of one; `min_size` is the least
    width and height that the conversion takes.
    """

    channels: int
    sample_bytes: int
    to_rgb: ToRgb
    min_size: int = 1
    has_even_width: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel."""
        return self.channels * self.sample_bytes


def _convert(code: int) -> ToRgb:
    def to_rgb(pixels: Pixels) -> Pixels:
        if pixels.shape[:2] == (1, 1):  # OpenCV 4.5, of Ubuntu 22.04, refuses a single pixel
            pixels = np.repeat(pixels, 2, axis=1)
            return np.asarray(cv2.cvtColor(pixels, code))[:, :1]
        return np.asarray(cv2.cvtColor(pixels, code))

    return to_rgb


def _identity(pixels: Pixels) -> Pixels:
    return pixels


# OpenCV names a Bayer pattern after its second row and column, ROS after its first.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_COLOURS = {
    'rgb': (3, _identity),
    'bgr': (3, _convert(cv2.COLOR_BGR2RGB)),
    'rgba': (4, _convert(cv2.COLOR_RGBA2RGB)),
    'bgra': (4, _convert(cv2.COLOR_BGRA2RGB)),
    'mono': (1, _convert(cv2.COLOR_GRAY2RGB)),
}
_UYVY = Encoding(2, 1, _convert(cv2.COLOR_YUV2RGB_UYVY), has_even_width=True)
_YUYV = Encoding(2, 1, _convert(cv2.COLOR_YUV2RGB_YUY2), has_even_width=True)

ENCODINGS: dict[str, Encoding] = {
    **{
        f'{name}{8 * size}': Encoding(channels, size, convert)
        for name, (channels, convert) in _COLOURS.items()
        for size in (1, 2)
    },
    **{
        f'bayer_{pattern}{8 * size}': Encoding(1, size, _convert(code), min_size=3)
        for pattern, code in _BAYER.items()
        for size in (1, 2)
    },
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
}
"""Every encoding that is converted, by its name in sensor_msgs/image_encodings."""

_BARE_SAMPLES = re.compile(r'(8|16|32|64)[USF]C([1-4])?', re.IGNORECASE)
_NAMES_BY_CHANNELS = {'1': 'mono8', '3': 'bgr8 or rgb8', '4': 'bgra8 or rgba8'}


def checked_encoding(message: RawImage) -> Encoding:
    """Returns the message's encoding.

    UnsupportedEncoding or ImageShapeError when the message cannot be converted.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        refuse_undefined(message.encoding, f'encoding {message.encoding!r} of an image')
        raise UnsupportedEncoding(
            f'encoding {message.encoding!r} of an image',
            'it is not one of ' + ', '.join(ENCODINGS),
            'Publish one of these, rgb8 say',
        )
    height, width, step = message.height, message.width, message.step
    shape = f'an image of {width}x{height} {message.encoding}'
    if min(height, width) < encoding.min_size:
        raise ImageShapeError(
            shape, f'it needs at least {encoding.min_size}x{encoding.min_size} pixels'
        )
    if encoding.has_even_width and width % 2:
        raise ImageShapeError(shape, 'two pixels share their colour, so the width must be even')
    if step < width * encoding.pixel_bytes:
        raise ImageShapeError(
            shape, f'step is {step} bytes, a row has {width * encoding.pixel_bytes}'
        )
    size = flat_bytes(message.data).size
    if size < step * height:
        raise ImageShapeError(
            shape, f'it has {size} bytes, {height} rows of {step} bytes need {step * height}'
        )
    return encoding


def refuse_undefined(encoding: str, what: str) -> None:
    """Raises UndefinedColours for an encoding of OpenCV's, which names the type of the samples and
    not what they mean.
    """
    found = _BARE_SAMPLES.fullmatch(encoding)
    if found is None:
        return
    name = _NAMES_BY_CHANNELS.get(found[2] or '1')
    if found[1] == '8' and name:
        raise UndefinedColours(
            what,
            'it gives the type of the samples, not what they mean',
            f'Publish it as {name}: with cv_bridge, cv2_to_imgmsg(image, {name.split()[0]!r})',
        )
    raise UndefinedColours(
        what,
        'such samples are distances or measured values, not colours or brightness',
        'Give the topic of the colour image. A picture of brightness in 16 bit is mono16, for '
        'which buffer.white_level sets the range',
    )


def raw_to_rgb(message: RawImage, encoding: Encoding, white_level: int = WHITE_LEVEL) -> Image:
    """Returns the image as (height, width, 3) uint8 RGB, C-contiguous; it may share the memory of
    `message.data`.

    `encoding` is what checked_encoding returned for this message. 16-bit samples are scaled to 8
    bit so that `white_level` becomes 255, alpha is ignored, YUV is ITU-R BT.601, Bayer patterns are
    interpolated bilinearly.
    """
    pixels = encoding.to_rgb(_samples(message, encoding))
    return np.ascontiguousarray(samples_to_8_bit(pixels, white_level))


def mosaic_to_rgb(samples: Pixels, pattern: str) -> Pixels:
    """Returns the (height, width, 3) colours of a Bayer mosaic; `pattern` as in ROS, 'rggb' say."""
    encoding = ENCODINGS.get(f'bayer_{pattern}8')
    if encoding is None or min(samples.shape) < encoding.min_size:
        shape = f'an image of {samples.shape[1]}x{samples.shape[0]} bayer_{pattern}'
        raise ImageShapeError(shape, 'it is no pattern of two by two, or the image is too small')
    return encoding.to_rgb(samples)


def _samples(message: RawImage, encoding: Encoding) -> Pixels:
    """Returns (height, width) or (height, width, channels) samples in native byte order; 8-bit ones
    are a view of the message's bytes.
    """
    sample = np.dtype(
        np.uint8 if encoding.sample_bytes == 1 else '>u2' if message.is_bigendian else '<u2'
    )
    dimensions = (message.height, message.width, encoding.channels)
    strides = (message.step, encoding.pixel_bytes, encoding.sample_bytes)
    view: Pixels = np.ndarray(dimensions, sample, flat_bytes(message.data), strides=strides)
    native = view if encoding.sample_bytes == 1 else view.astype(np.uint16)
    return native[:, :, 0] if encoding.channels == 1 else native


def flat_bytes(data: object) -> NDArray[np.uint8]:
    """Returns a message's bytes as a flat uint8 array, without copying.

    `data` is an array.array, bytes, a numpy array or a vendor's buffer object; ImageShapeError when
    it cannot be read as bytes.
    """
    if isinstance(data, array.array) and data.itemsize != 1:
        raise ImageShapeError(
            f'image data as array of {data.typecode!r}', 'it must be an array of bytes'
        )
    try:
        return np.frombuffer(memoryview(data).cast('B'), np.uint8)  # type: ignore[arg-type]
    except (TypeError, BufferError, ValueError):
        return _copied_bytes(data)


def _copied_bytes(data: object) -> NDArray[np.uint8]:
    """Copies the bytes of what has no contiguous buffer: a strided array, or rosidl's Buffer in
    device memory.
    """
    to_bytes = getattr(data, 'tobytes', None) or getattr(data, 'to_bytes', None)
    copied = to_bytes() if callable(to_bytes) else None
    if not isinstance(copied, (bytes, bytearray)):
        raise ImageShapeError(
            f'image data of type {type(data).__name__}',
            'it cannot be read as bytes',
            'Have the camera publish images in CPU memory',
        )
    return np.frombuffer(copied, np.uint8)


def samples_to_8_bit(pixels: Pixels, white_level: int) -> Image:
    """Returns 8-bit samples as they are; scales 16-bit ones from 0..white_level to 0..255, rounded
    to the nearest, and clips what is above.
    """
    if pixels.dtype == np.uint8:
        return pixels
    held = np.minimum(pixels, white_level).astype(np.uint32)
    return ((held * 255 + white_level // 2) // white_level).astype(np.uint8)
