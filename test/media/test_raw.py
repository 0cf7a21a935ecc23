# SPDX-License-Identifier: Apache-2.0
"""Raw images of every encoding against images computed here, sample by sample, without OpenCV."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.raw_messages import raw_message

from penguin_ros.config import BufferConfig
from penguin_ros.errors import ImageShapeError, UndefinedColours, UnsupportedEncoding
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.media.raw import ENCODINGS, flat_bytes

COLOUR_ORDERS = {'rgb': 'rgb', 'bgr': 'bgr', 'rgba': 'rgba', 'bgra': 'bgra', 'mono': 'm'}
BAYER = ('rggb', 'bggr', 'gbrg', 'grbg')


def encoded(samples, sample_bytes, is_bigendian):
    """Bytes of integer samples."""
    return samples.astype({1: 'u1', 2: '>u2' if is_bigendian else '<u2'}[sample_bytes]).tobytes()


def to_8_bit(value, sample_bytes):
    """A sample as 8 bit: 16-bit ones scaled so that 65535 becomes 255."""
    return value if sample_bytes == 1 else round(value * 255 / 65535)


def image(rng, height, width, channels, sample_bytes):
    return rng.integers(0, 256**sample_bytes, (height, width, channels))


@given(st.data())
def test_colour_and_gray_images_keep_each_pixel(data):
    name = data.draw(st.sampled_from(sorted(COLOUR_ORDERS)))
    sample_bytes, is_bigendian = data.draw(st.sampled_from([1, 2])), data.draw(st.integers(0, 1))
    height, width, padding = (data.draw(st.integers(low, 9)) for low in (1, 1, 0))
    order = COLOUR_ORDERS[name]
    samples = image(
        np.random.default_rng(data.draw(st.integers(0, 1000))),
        height,
        width,
        len(order),
        sample_bytes,
    )
    rgb = message_to_rgb(
        raw_message(
            f'{name}{8 * sample_bytes}',
            height,
            width,
            width * len(order) * sample_bytes,
            encoded(samples, sample_bytes, is_bigendian),
            padding,
            is_bigendian,
        )
    )
    expected = [
        [
            [
                to_8_bit(
                    int(samples[y, x, order.index(colour) if name != 'mono' else 0]), sample_bytes
                )
                for colour in 'rgb'
            ]
            for x in range(width)
        ]
        for y in range(height)
    ]
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    assert rgb.tolist() == expected


def bayer_colour(pattern, y, x):
    return pattern[2 * (y % 2) + x % 2]


def bilinear(mosaic, pattern, y, x, colour):
    """Mean of the samples of that colour among the pixel itself, else its 4 neighbours, else its
    diagonal ones.
    """
    rings = ([(0, 0)], [(-1, 0), (1, 0), (0, -1), (0, 1)], [(-1, -1), (-1, 1), (1, -1), (1, 1)])
    for ring in rings:
        found = [
            int(mosaic[y + dy, x + dx])
            for dy, dx in ring
            if bayer_colour(pattern, y + dy, x + dx) == colour
        ]
        if found:
            return sum(found) / len(found)
    raise AssertionError('each colour lies within a pixel of each pixel')


@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('sample_bytes', [1, 2])
@pytest.mark.parametrize('pattern', BAYER)
def test_bayer_images_are_interpolated_from_the_samples_of_each_colour(
    pattern, sample_bytes, is_bigendian
):
    height, width = 8, 10
    mosaic = image(np.random.default_rng(3), height, width, 1, sample_bytes)[:, :, 0]
    rgb = message_to_rgb(
        raw_message(
            f'bayer_{pattern}{8 * sample_bytes}',
            height,
            width,
            width * sample_bytes,
            encoded(mosaic, sample_bytes, is_bigendian),
            3,
            is_bigendian,
        )
    )
    expected = np.array(
        [
            [
                [
                    to_8_bit(bilinear(mosaic, pattern, y, x, colour), sample_bytes)
                    for colour in 'rgb'
                ]
                for x in range(1, width - 1)
            ]
            for y in range(1, height - 1)
        ]
    )
    assert np.abs(rgb[1:-1, 1:-1].astype(int) - expected).max() <= 1


@given(st.sampled_from(BAYER), st.integers(3, 9), st.integers(3, 9), st.integers(0, 5))
def test_a_bayer_image_of_one_colour_has_that_colour_up_to_its_border(
    pattern, height, width, padding
):
    colour = {'r': 200, 'g': 100, 'b': 30}
    mosaic = np.array(
        [[colour[bayer_colour(pattern, y, x)] for x in range(width)] for y in range(height)]
    )
    rgb = message_to_rgb(
        raw_message(f'bayer_{pattern}8', height, width, width, encoded(mosaic, 1, 0), padding)
    )
    assert (rgb == [200, 100, 30]).all()


def bt601(y, u, v):
    """ITU-R BT.601 of studio range to RGB."""
    luma = 255 / 219 * (y - 16)
    red = luma + 255 / 224 * 1.402 * (v - 128)
    blue = luma + 255 / 224 * 1.772 * (u - 128)
    green = luma - 255 / 224 * (0.344136 * (u - 128) + 0.714136 * (v - 128))
    return [min(255.0, max(0.0, value)) for value in (red, green, blue)]


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
@given(
    height=st.integers(1, 5),
    pairs=st.integers(1, 5),
    padding=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_yuv_images_share_colour_between_two_pixels(encoding, order, height, pairs, padding, seed):
    rng = np.random.default_rng(seed)
    luma, blue, red = (rng.integers(16, 236, (height, pairs, n)) for n in (2, 1, 1))
    planes = {
        'uyvy': [blue, luma[..., :1], red, luma[..., 1:]],
        'yuyv': [luma[..., :1], blue, luma[..., 1:], red],
    }[order]
    data = np.concatenate(planes, axis=2).astype(np.uint8).tobytes()
    rgb = message_to_rgb(raw_message(encoding, height, 2 * pairs, 4 * pairs, data, padding))
    expected = np.array(
        [
            [
                bt601(luma[y, x // 2, x % 2], blue[y, x // 2, 0], red[y, x // 2, 0])
                for x in range(2 * pairs)
            ]
            for y in range(height)
        ]
    )
    assert np.abs(rgb - expected).max() <= 1.5


def test_every_encoding_has_been_compared():
    compared = {f'{name}{bits}' for name in COLOUR_ORDERS for bits in (8, 16)}
    compared |= {f'bayer_{pattern}{bits}' for pattern in BAYER for bits in (8, 16)}
    assert set(ENCODINGS) == compared | {'yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'}


@pytest.mark.parametrize(
    'encoding', ['8UC3', '8UC7', 'nv12', 'RGB8', '', 'rgb8\0', 'mono12', 'mono32']
)
def test_an_unknown_encoding_is_named_and_never_guessed(encoding):
    with pytest.raises(UnsupportedEncoding, match='encoding') as error:
        message_to_rgb(raw_message(encoding, 2, 2, 6, bytes(12)))
    assert repr(encoding) in str(error.value) and 'rgb8' in str(error.value)


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'width': 0, 'step': 0, 'data': b''}, '0x4'),
        ({'height': 0, 'data': b''}, '4x0'),
        ({'step': 11}, 'step is 11'),
        ({'data': bytes(47)}, '47 bytes'),
        ({'data': b''}, '0 bytes'),
        ({'step': 0}, 'step is 0'),
        ({'encoding': 'mono16', 'step': 7}, 'a row has 8'),
        ({'encoding': 'yuv422', 'width': 3}, 'even'),
        ({'encoding': 'bayer_rggb8', 'width': 2}, 'at least 3x3'),
        ({'height': 2**32 - 1}, '48 bytes'),
        ({'data': array.array('H', bytes(48))}, 'bytes'),
        ({'data': object()}, 'object'),
    ],
)
def test_contradicting_fields_are_refused_with_the_numbers(fields, reason):
    good = {
        'height': 4,
        'width': 4,
        'encoding': 'rgb8',
        'is_bigendian': 0,
        'step': 12,
        'data': bytes(48),
    }
    with pytest.raises(ImageShapeError, match=reason):
        message_to_rgb(SimpleNamespace(**{**good, **fields}))


class DeviceBuffer:
    """Stands for a vendor's Buffer: readable only by copying."""

    def __init__(self, content):
        self._content = content

    def tobytes(self):
        return self._content


@pytest.mark.parametrize(
    'wrap',
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: array.array('B', b),
        lambda b: np.frombuffer(b, np.uint8),
        DeviceBuffer,
        lambda b: np.repeat(np.frombuffer(b, np.uint8), 2)[::2],
    ],
)
def test_data_may_be_any_object_of_bytes(wrap):
    content = bytes(range(24))
    assert flat_bytes(wrap(content)).tobytes() == content


def test_pixels_of_rgb8_are_not_copied():
    data = array.array('B', bytes(range(12)))
    rgb = message_to_rgb(
        SimpleNamespace(height=2, width=2, encoding='rgb8', is_bigendian=0, step=6, data=data)
    )
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))


def test_extra_bytes_after_the_last_row_are_ignored():
    rgb = message_to_rgb(
        SimpleNamespace(
            height=1, width=1, encoding='rgb8', is_bigendian=0, step=3, data=b'\1\2\3\4\5'
        )
    )
    assert rgb.tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ('encoding', 'advice'),
    [
        ('8UC3', "cv2_to_imgmsg(image, 'bgr8')"),
        ('8UC1', 'Publish it as mono8'),
        ('8UC4', 'bgra8 or rgba8'),
        ('16UC1', 'buffer.white_level'),
        ('32FC1', 'the topic of the colour image'),
        ('64FC2', 'distances or measured values'),
    ],
)
def test_samples_without_a_meaning_are_refused_with_what_to_do(encoding, advice):
    with pytest.raises(UndefinedColours) as error:
        message_to_rgb(raw_message(encoding, 2, 2, 8, bytes(16)))
    assert repr(encoding) in str(error.value) and advice in str(error.value)


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bayer_rggb16'])
def test_the_range_of_16_bit_samples_is_a_setting(encoding):
    channels = 3 if encoding == 'rgb16' else 1
    samples = np.full((4, 4, channels), 2048, '<u2')
    image = raw_message(encoding, 4, 4, 8 * channels, samples.tobytes())
    assert (message_to_rgb(image) == 8).all()
    assert (message_to_rgb(image, BufferConfig(white_level=4095)) == 128).all()
    assert (message_to_rgb(image, BufferConfig(white_level=1000)) == 255).all()
