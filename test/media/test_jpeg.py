# SPDX-License-Identifier: Apache-2.0
"""A JPEG is used when its picture is whole, whatever lies beside it, and refused with the reason in
words when a decoder would fill it with gray.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.jpeg_files import data_start, file_of, scenery, with_segments

from penguin_ros.errors import CorruptImage, UnsupportedEncoding
from penguin_ros.media.compressed import decode_compressed

LIMIT = 10**7
HALF_BLACK = np.vstack([scenery(120), np.zeros((120, 320, 3), np.uint8)])
WRITERS = {
    'plain': {'quality': 90},
    'coarse': {'quality': 40},
    'without subsampling': {'quality': 95, 'subsampling': 0},
    'restart markers': {'quality': 85, 'restart_marker_rows': 1},
    'progressive': {'quality': 85, 'progressive': True},
    'own tables': {'quality': 85, 'optimize': True},
}


def broken(content: bytes, how: str) -> bytes:
    """Damages the middle of the data as transfers do."""
    start = data_start(content)
    middle, length = (start + len(content)) // 2, len(content) - start
    ninth = length // 9
    return {
        'cut': content[:middle],
        'cut, with an end marker': content[:middle] + b'\xff\xd9',
        'an end marker in the middle': content[:middle] + b'\xff\xd9' + content[middle:],
        'the next picture in the middle': content[:middle] + content,
        'a part lost': content[:middle] + content[middle + ninth :],
        'a part zero': content[:middle] + bytes(ninth) + content[middle + ninth :],
        'the last tenth lost': content[: -length // 10] + b'\xff\xd9',
    }[how]


@pytest.mark.parametrize('picture', ['scenery', 'flat below', 'gray', 'one colour'])
@pytest.mark.parametrize('writer', WRITERS)
def test_whole_pictures_of_all_writers_are_used(writer, picture):
    pixels = {
        'scenery': scenery(),
        'flat below': HALF_BLACK,
        'gray': scenery()[:, :, 0],
        'one colour': np.full((50, 70, 3), 90, np.uint8),
    }[picture]
    content = file_of(pixels, **WRITERS[writer])
    wanted = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    assert np.abs(decode_compressed(content, LIMIT).astype(int) - wanted).mean() < 15


@pytest.mark.parametrize(
    'end',
    [b'', b'\xff', b'\xff\xff\xff\xd9', bytes(300) + b'\xff\xd9', b'\xff\xd9 and more', b'\1\2\3'],
)
@pytest.mark.parametrize('writer', ['plain', 'restart markers', 'progressive'])
def test_an_end_marker_that_is_missing_or_odd_changes_nothing(writer, end):
    content = file_of(scenery(), **WRITERS[writer])
    assert np.array_equal(
        decode_compressed(content[:-2] + end, LIMIT), decode_compressed(content, LIMIT)
    )


@pytest.mark.parametrize('picture', [scenery(), HALF_BLACK, scenery()[:, :, 0]])
@pytest.mark.parametrize(
    'how',
    [
        'cut',
        'cut, with an end marker',
        'an end marker in the middle',
        'the next picture in the middle',
        'the last tenth lost',
    ],
)
@pytest.mark.parametrize('writer', WRITERS)
def test_a_picture_that_breaks_off_is_refused_and_it_is_said_where(writer, how, picture):
    content = broken(file_of(picture, **WRITERS[writer]), how)
    with pytest.raises(CorruptImage, match=r'breaks off at byte \d+|restart markers'):
        decode_compressed(content, LIMIT)


@pytest.mark.parametrize('how', ['a part lost', 'a part zero'])
@pytest.mark.parametrize('writer', ['plain', 'coarse', 'without subsampling', 'restart markers'])
def test_damage_of_which_a_decoder_only_warns_is_refused(writer, how):
    with pytest.raises(CorruptImage, match='byte|restart markers'):
        decode_compressed(broken(file_of(scenery(), **WRITERS[writer]), how), LIMIT)


def test_lost_and_exchanged_restart_markers_are_told():
    content = file_of(scenery(), **WRITERS['restart markers'])
    if b'\xff\xd3' not in content:
        pytest.skip('the library that writes JPEG files here writes no restart markers')
    for wrong in (content.replace(b'\xff\xd3', b'', 1), content.replace(b'\xff\xd3', b'\xff\xd5')):
        with pytest.raises(CorruptImage, match='restart markers'):
            decode_compressed(wrong, LIMIT)


def test_stray_bytes_before_restart_markers_and_at_the_end_do_no_harm():
    content = file_of(scenery(), **WRITERS['restart markers'])
    start = data_start(content)
    stray = content[:start] + re.sub(
        rb'\xff[\xd0-\xd9]', lambda it: b'\0\0' + it[0], content[start:]
    )
    assert np.array_equal(decode_compressed(stray, LIMIT), decode_compressed(content, LIMIT))


@pytest.mark.parametrize(
    'segments',
    [
        [(0xE1, b'Exif\0\0' + bytes(range(40)))],
        [(0xE1, b'Exif\0\0II*\0\xff\xff\xff\x7f')],
        [(0xE1, b'Exif\0\0MM\0*\0\0\0\x08\xff\xff')],
        [(0xE1, b''), (0xEF, b'\xff\xd9\xff\xd8'), (0xFE, b'\xff\xda a comment')],
        [(0xE2, b'MPF\0broken'), (0xE2, b'ICC_PROFILE\0\1\1no profile')],
        [(0xED, b'Photoshop 3.0\0' + b'8BIM' * 4)],
        [(0xE0, b'JFIF\0\1\1\1\0\0\0\0\0\0'), (0xE1, b'Exif\0\0' + bytes(30))],
    ],
)
def test_what_is_wrong_beside_the_picture_is_left_out(segments):
    content = file_of(scenery())
    assert np.array_equal(
        decode_compressed(with_segments(content, *segments), LIMIT),
        decode_compressed(content, LIMIT),
    )


@pytest.mark.parametrize(
    ('segment', 'turns'),
    [
        (b'Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0', -1),
        (b'Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x08\0\0', 1),
        (b'Exif\0\0II*\0\x08\0\0\0\xff\0\x12\1\3\0\1\0\0\0\3\0\0\0', 2),  # it promises more entries
        (b'http://ns.adobe.com/xap/1.0/\0<rdf tiff:Orientation="6"/>', -1),
        (b'Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0', 0),  # no orientation at all
    ],
)
def test_an_orientation_that_can_be_read_is_applied(segment, turns):
    content = file_of(scenery())
    turned = decode_compressed(with_segments(content, (0xE1, segment)), LIMIT)
    assert np.array_equal(turned, np.rot90(decode_compressed(content, LIMIT), turns))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_all_orientations_are_those_of_the_field(orientation):
    import io

    import PIL.Image
    import PIL.ImageOps

    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = file_of(scenery(48, 64), exif=exif, subsampling=0)
    with PIL.Image.open(io.BytesIO(content)) as image:
        wanted = np.asarray(PIL.ImageOps.exif_transpose(image))
    assert np.array_equal(decode_compressed(content, LIMIT), wanted)


def frame_header(content: bytes, marker: int = 0xC0, bits: int = 8) -> bytes:
    """The JPEG with another kind of frame header."""
    place = content.index(b'\xff\xc0')
    changed = bytearray(content)
    changed[place + 1], changed[place + 4] = marker, bits
    return bytes(changed)


@pytest.mark.parametrize(
    ('content', 'word'),
    [
        (frame_header(file_of(scenery()), 0xC1, 12), '12 bit'),
        (frame_header(file_of(scenery()), 0xC0, 16), '16 bit'),
        (frame_header(file_of(scenery()), 0xC3), 'lossless'),
    ],
)
def test_a_kind_of_jpeg_that_is_not_decoded_is_named(content, word):
    with pytest.raises(UnsupportedEncoding, match=word):
        decode_compressed(content, LIMIT)


@pytest.mark.parametrize('end', [3, 20, 100, 300, 600])
def test_no_reason_holds_an_address(end):
    content = file_of(scenery())
    for wrong in (content[:end], content[:end] + bytes(300), content[:100] + content[100 + end :]):
        try:
            decode_compressed(wrong, LIMIT)
        except CorruptImage as error:
            assert '0x' not in str(error) and 'BytesIO' not in str(error)
