# SPDX-License-Identifier: Apache-2.0
"""A PNG is used when its picture is whole, whatever lies beside it."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from support.jpeg_files import file_of, scenery, with_chunk

from penguin_ros.errors import CorruptImage
from penguin_ros.media.compressed import decode_compressed

LIMIT = 10**7
PICTURE = scenery(60, 80)
CONTENT = file_of(PICTURE, 'PNG')


@pytest.mark.parametrize(
    'content',
    [
        with_chunk(CONTENT, b'tEXt', b'no keyword'),
        with_chunk(CONTENT, b'pHYs', b'\1'),
        with_chunk(CONTENT, b'iCCP', b'name\0\0no profile'),
        with_chunk(CONTENT, b'gAMA', b'\0\0\0\0', b'\0\0\0\0'),
        with_chunk(CONTENT, b'eXIf', bytes(range(30))),
        with_chunk(CONTENT, b'acTL', bytes(8)),
        with_chunk(CONTENT, b'tRNS', b'\0', b'\0\0\0\0'),
        CONTENT[:-12],  # without its end marker
        CONTENT[:-5],
        CONTENT + bytes(50),
    ],
)
def test_what_is_wrong_beside_the_picture_is_left_out(content):
    assert np.array_equal(decode_compressed(content, LIMIT), PICTURE)


def test_an_orientation_that_can_be_read_is_applied():
    tiff = b'II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0'
    content = with_chunk(CONTENT, b'eXIf', tiff)
    assert np.array_equal(decode_compressed(content, LIMIT), np.rot90(PICTURE, -1))


@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_damaged_data_is_told_with_its_place(share):
    place = int(len(CONTENT) * share)
    changed = CONTENT[:place] + bytes([CONTENT[place] ^ 0x55]) + CONTENT[place + 1 :]
    with pytest.raises(CorruptImage, match=r'damaged at byte \d+: its checksum is wrong'):
        decode_compressed(changed, LIMIT)
    with pytest.raises(CorruptImage, match=r'damaged at byte \d+: it is truncated there'):
        decode_compressed(CONTENT[:place], LIMIT)


def test_a_picture_whose_last_chunks_are_missing_is_refused():
    header, data = CONTENT[:33], CONTENT[33:]
    with pytest.raises(CorruptImage, match='truncated'):
        decode_compressed(header + struct.pack('>I', 0) + b'IEND' + data[-4:], LIMIT)


def test_the_range_of_16_bit_colours_is_a_setting():
    wide = np.full((4, 5, 3), (100, 2048, 4095), np.uint16)  # blue, green, red for OpenCV
    content = cv2.imencode('.png', wide)[1].tobytes()
    assert decode_compressed(content, LIMIT)[0, 0].tolist() == [16, 8, 0]
    assert decode_compressed(content, LIMIT, '', 4095)[0, 0].tolist() == [255, 128, 6]
