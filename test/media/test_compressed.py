# SPDX-License-Identifier: Apache-2.0
"""Compressed images: decoded right, or refused with a named cause, with nothing large decoded
first.
"""

from __future__ import annotations

import array
import io
import resource
import struct
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from penguin_ros.errors import CorruptImage, ImageError, ImageTooLarge, UnsupportedEncoding
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.convert import message_to_rgb

LIMIT = 1_000_000


def gradient(height=40, width=60):
    """A smooth image, which JPEG keeps nearly."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4, y * 6, np.full_like(x, 90)], axis=2).astype(np.uint8)


def file_bytes(pixels, kind, **options):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


def png_with_header(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name, content):
        return (
            struct.pack('>I', len(content))
            + name
            + content
            + struct.pack('>I', zlib.crc32(name + content))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(bytes(100)))
        + chunk(b'IEND', b'')
    )


def jpeg_with_header(width, height):
    """A JPEG whose frame header claims another size than its data has."""
    content = bytearray(file_bytes(gradient(), 'JPEG'))
    place = content.index(b'\xff\xc0') + 5
    content[place : place + 4] = struct.pack('>HH', height, width)
    return bytes(content)


def test_png_is_decoded_exactly():
    assert np.array_equal(decode_compressed(file_bytes(gradient(), 'PNG'), LIMIT), gradient())


def test_jpeg_is_decoded_to_rgb():
    rgb = decode_compressed(
        array.array('B', file_bytes(gradient(), 'JPEG', quality=95, subsampling=0)), LIMIT
    )
    assert rgb.dtype == np.uint8 and np.abs(rgb.astype(int) - gradient()).mean() < 2


@pytest.mark.parametrize('label', ['', 'png', 'rgb8; jpeg compressed bgr8', 'h264', 'nonsense'])
def test_the_first_bytes_decide_the_format_whatever_the_message_says(label):
    message = SimpleNamespace(format=label, data=file_bytes(gradient(), 'PNG'))
    assert np.array_equal(message_to_rgb(message), gradient())


def test_gray_alpha_and_palette_become_rgb():
    gray = gradient()[:, :, 0]
    assert (decode_compressed(file_bytes(gray, 'PNG'), LIMIT) == gray[:, :, None]).all()
    alpha = np.dstack([gradient(), np.full(gray.shape, 10, np.uint8)])
    assert np.array_equal(decode_compressed(file_bytes(alpha, 'PNG'), LIMIT), gradient())
    assert (
        decode_compressed(file_bytes(gray > 100, 'PNG'), LIMIT)[:, :, 0]
        == np.where(gray > 100, 255, 0)
    ).all()


def test_16_bit_gray_is_scaled_over_its_range():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode_compressed(file_bytes(values, 'PNG'), LIMIT)[0, :, 1].tolist() == [0, 1, 128, 255]


def test_the_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    rgb = decode_compressed(
        file_bytes(gradient(), 'JPEG', exif=exif, quality=95, subsampling=0), LIMIT
    )
    assert np.abs(rgb.astype(int) - np.rot90(gradient(), -1)).mean() < 2


@pytest.mark.parametrize(
    'data', [b'', b'\xff', b'hello, world', bytes(1000), b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n']
)
def test_empty_and_foreign_data_is_corrupt(data):
    with pytest.raises(CorruptImage):
        decode_compressed(data, LIMIT, 'jpeg')


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_an_image_cut_off_anywhere_is_corrupt(kind):
    content = file_bytes(
        np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8), kind
    )
    ends = {
        3,
        30,
        len(content) // 2,
        len(content) * 9 // 10,
        len(content) - (200 if kind == 'JPEG' else 60),
    }
    for end in ends:
        with pytest.raises(CorruptImage):
            decode_compressed(content[:end], LIMIT)


@given(st.data())
def test_damaged_bytes_give_an_image_or_a_named_error(data):
    content = bytearray(file_bytes(gradient(), data.draw(st.sampled_from(['JPEG', 'PNG']))))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        assert decode_compressed(bytes(content), LIMIT).ndim == 3
    except ImageError as error:
        assert str(error)


@pytest.mark.parametrize('label', ['webp', '16UC1; compressedDepth', 'h264', 'tiff'])
def test_other_formats_are_named(label):
    with pytest.raises(UnsupportedEncoding, match=label):
        decode_compressed(b'RIFF....WEBPVP8 ', LIMIT, label)


@pytest.mark.parametrize(
    'bomb',
    [
        png_with_header(60000, 60000),
        png_with_header(2**31 - 1, 2**31 - 1),
        png_with_header(1001, 1000),
        jpeg_with_header(65500, 65500),
        jpeg_with_header(1001, 1000),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(bomb):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(ImageTooLarge):
            decode_compressed(bomb, LIMIT)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    )  # KiB; decoded it would take gigabytes


def test_an_image_at_the_limit_is_decoded():
    assert decode_compressed(file_bytes(gradient(10, 10), 'PNG'), 100).shape == (10, 10, 3)
    with pytest.raises(ImageTooLarge, match='10x10'):
        decode_compressed(file_bytes(gradient(10, 10), 'PNG'), 99)
