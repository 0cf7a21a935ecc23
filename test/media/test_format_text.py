# SPDX-License-Identifier: Apache-2.0
"""What the `format` of a compressed picture says decides what its samples mean."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from support.jpeg_files import file_of, scenery

from penguin_ros.config import BufferConfig
from penguin_ros.errors import ImageShapeError, UndefinedColours, UnsupportedEncoding
from penguin_ros.media.convert import is_16_bit, message_to_rgb
from penguin_ros.media.format_text import FormatText, read_format

PICTURE = cv2.GaussianBlur(scenery(120, 160), (0, 0), 3)
GRAY = PICTURE[:, :, 1].copy()


def message(pixels, label, kind='JPEG'):
    options = {'quality': 97, 'subsampling': 0} if kind == 'JPEG' and pixels.ndim == 3 else {}
    return SimpleNamespace(format=label, data=array.array('B', file_of(pixels, kind, **options)))


def mosaic(picture, pattern):
    """What a sensor with that pattern gives."""
    flat = np.zeros(picture.shape[:2], picture.dtype)
    for number, colour in enumerate(pattern):
        place = slice(number // 2, None, 2), slice(number % 2, None, 2)
        flat[place] = picture[(*place, 'rgb'.index(colour))]
    return flat


def difference(one, other):
    return np.abs(one.astype(int) - other).mean()


@pytest.mark.parametrize(
    ('label', 'said'),
    [
        ('', FormatText()),
        ('jpeg', FormatText()),
        ('nonsense; with a semicolon', FormatText()),
        ('rgb8; jpeg compressed bgr8', FormatText('rgb8', 'bgr8')),
        ('BGR8; JPEG compressed', FormatText('bgr8')),
        ('mono16; png compressed ', FormatText('mono16')),
        ('bayer_rggb8; jpeg compressed mono8', FormatText('bayer_rggb8', 'mono8')),
        ('16UC1; compressedDepth png', FormatText('16uc1', 'depth')),
        ('32FC1; compressedDepth', FormatText('32fc1', 'depth')),
        ('compressedDepth', FormatText('', 'depth')),
        ('8UC3', FormatText('8uc3')),
    ],
)
def test_the_text_is_read(label, said):
    assert read_format(label) == said


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize(
    ('kind', 'rest'),
    [('PNG', 'png compressed '), ('JPEG', 'jpeg compressed '), ('PNG', 'png compressed bayer_')],
)
def test_a_mosaic_becomes_colours(pattern, kind, rest):
    image = message(mosaic(PICTURE, pattern), f'bayer_{pattern}8; {rest}', kind)
    assert difference(message_to_rgb(image), PICTURE) < 6


def test_a_mosaic_that_was_stored_in_colours_or_in_16_bit_becomes_colours_too():
    flat = mosaic(PICTURE, 'rggb')
    label = 'bayer_rggb8; png compressed '
    assert difference(message_to_rgb(message(np.dstack([flat] * 3), label, 'PNG')), PICTURE) < 6
    wide = message(flat.astype(np.uint16) * 257, 'bayer_rggb16; png compressed ', 'PNG')
    assert difference(message_to_rgb(wide), PICTURE) < 6


def test_what_was_converted_before_it_was_stored_stays_as_it_is():
    gray = message_to_rgb(message(GRAY, 'bayer_rggb8; jpeg compressed mono8'))
    assert difference(gray, GRAY[:, :, None]) < 2
    colours = message_to_rgb(message(PICTURE, 'bayer_rggb8; jpeg compressed bgr8'))
    assert difference(colours, PICTURE) < 3


def test_an_unknown_mosaic_is_refused():
    with pytest.raises(ImageShapeError, match='bayer_rrrr'):
        message_to_rgb(message(GRAY, 'bayer_rrrr8; png compressed ', 'PNG'))


@pytest.mark.parametrize(
    'label',
    [
        '16UC1; png compressed ',
        '16UC1; jpeg compressed mono8',
        '32FC1; compressedDepth png',
        '16UC1; compressedDepth rvl',
        '8UC3; jpeg compressed bgr8',
        '8UC1; png compressed ',
        '8UC3',
    ],
)
def test_a_picture_without_colours_is_refused_as_its_raw_topic_is(label):
    with pytest.raises(UndefinedColours, match='Give the topic|Publish it as') as error:
        message_to_rgb(message(GRAY, label, 'PNG'))
    assert repr(label) in str(error.value) and isinstance(error.value, UnsupportedEncoding)


@pytest.mark.parametrize('label', ['rgb8; jpeg compressed rgb8', 'bgr8; png compressed rgb8'])
def test_colours_that_may_be_exchanged_are_refused_until_a_setting_says_which_it_is(label):
    image = message(PICTURE, label, 'PNG')
    with pytest.raises(UndefinedColours, match=r'buffer\.stored_rgb'):
        message_to_rgb(image)
    as_stored = message_to_rgb(image, BufferConfig(stored_rgb='as_stored'))
    exchanged = message_to_rgb(image, BufferConfig(stored_rgb='exchanged'))
    assert np.array_equal(as_stored, PICTURE)
    assert np.array_equal(exchanged, PICTURE[:, :, ::-1])


@pytest.mark.parametrize(
    'label',
    ['rgb8; jpeg compressed bgr8', 'rgba8; png compressed bgra8', 'nv12; jpeg compressed bgr8'],
)
def test_usual_texts_give_the_colours_of_the_file(label):
    assert np.array_equal(message_to_rgb(message(PICTURE, label, 'PNG')), PICTURE)


def test_16_bit_gray_is_scaled_by_the_setting():
    image = message(np.full((4, 4), 1024, np.uint16), 'mono16; png compressed ', 'PNG')
    assert (message_to_rgb(image) == 4).all()
    assert (message_to_rgb(image, BufferConfig(white_level=4095)) == 64).all()


@pytest.mark.parametrize(
    ('fields', 'is_wide'),
    [
        ({'encoding': 'mono16'}, True),
        ({'encoding': 'rgb8'}, False),
        ({'format': 'mono16; png compressed '}, True),
        ({'format': 'mono16; jpeg compressed mono8'}, False),
        ({'format': 'png'}, False),
    ],
)
def test_16_bit_messages_are_told_from_others(fields, is_wide):
    assert is_16_bit(SimpleNamespace(**fields)) is is_wide
