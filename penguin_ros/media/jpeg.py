# SPDX-License-Identifier: Apache-2.0
"""Takes a JPEG apart: what its decoder needs, what it lacks, and what is merely beside the picture.

A decoder fills what is missing with gray and only warns of it, and other decoders refuse a picture
that lacks nothing but its end marker. So the file is judged here by its own structure and by what
changes in the decoded picture when bytes are put behind it; see `_damage`.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass, replace

import numpy as np

from penguin_ros.errors import CorruptImage, UnsupportedEncoding
from penguin_ros.frame import Image
from penguin_ros.media.orientation import UPRIGHT, exif_orientation, xmp_orientation

SIGNATURE = b'\xff\xd8\xff'
_START = b'\xff\xd8'
_END = b'\xff\xd9'
_END_OF_SCAN = re.compile(rb'\xff[\x02-\xcf\xd8-\xfe]')
_RESTART = re.compile(rb'\xff([\xd0-\xd7])')
_SCAN, _TABLES_OF_RESTARTS, _PROGRESSIVE = 0xDA, 0xDD, 0xC2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDC, _TABLES_OF_RESTARTS, 0xE0, 0xEE}  # E0, EE: kinds of colours
_BARE = {0x01, *range(0xD0, 0xD8)}
# Bytes that decode to something else than the gray which stands for missing ones.
_FILLER = bytes(range(0x51, 0xD1, 3)) * 3
_TAIL = 64
"""So many bytes more than are needed may lie at the end: some webcams put stray ones there."""


@dataclass(frozen=True)
class JpegFrame:
    """The frame header. `unit` is the size in pixels of what is coded together."""

    marker: int
    bits: int
    width: int
    height: int
    unit: tuple[int, int]

    @property
    def units(self) -> int:
        """Number of such units in the picture."""
        return -(-self.width // self.unit[0]) * -(-self.height // self.unit[1])


@dataclass(frozen=True)
class JpegParts:
    """A JPEG without what its decoder does not need.

    `parts`: segments, and scans as they lie in the file, the last one without the bytes of an end
    marker; `end`: the place in the file where it ends; `missing`: what progressive scans did not
    bring; `restart_interval`: in units, 0 without.
    """

    parts: tuple[bytes, ...]
    frame: JpegFrame
    orientation: int
    end: int
    missing: bool
    restart_interval: int

    @property
    def content(self) -> bytes:
        """The bytes to decode, with an end marker."""
        return _START + b''.join(self.parts) + _END


def jpeg_parts(content: bytes) -> JpegParts:
    """Takes a JPEG apart; CorruptImage when there is no picture in it, UnsupportedEncoding when it
    is of a kind that is not decoded.
    """
    reader = _Reader(content)
    reader.read()
    frame = reader.frame
    if frame is None or not reader.has_scan:
        lacking = 'a frame header' if frame is None else 'the data of the picture'
        raise CorruptImage(
            _what(content),
            f'it is truncated: at its end, byte {reader.place}, {lacking} is missing',
        )
    if frame.bits != 8:
        raise UnsupportedEncoding(
            f'a JPEG image of {frame.bits} bit per sample',
            'only 8 bit are decoded',
            'Set the camera to 8 bit, or publish mono16 raw',
        )
    if frame.marker in _LOSSLESS:
        raise UnsupportedEncoding(
            'a lossless JPEG image', 'that kind is not decoded', 'Publish baseline JPEG, or PNG'
        )
    if not frame.width or not frame.height:
        raise CorruptImage(_what(content), 'its header gives no size')
    return JpegParts(
        tuple(reader.parts),
        frame,
        reader.orientation,
        reader.place,
        frame.marker == _PROGRESSIVE and reader.is_missing_coefficients,
        reader.restart_interval,
    )


def decode_jpeg(parts: JpegParts, content: bytes) -> Image:
    """Returns the picture as (height, width) gray or (height, width, 3) RGB; CorruptImage where the
    decoder would put something in the place of what is missing.
    """
    whole = _pixels(parts)
    wrong = _damage(parts, content, whole)
    if wrong:
        raise CorruptImage(_what(content), wrong)
    return whole


def _damage(parts: JpegParts, content: bytes, whole: Image) -> str:
    """Returns what is wrong with a picture that its decoder shows; '' when nothing is missing but,
    perhaps, a part of its last unit.

    Where bytes put behind the data change the picture, the decoder was still waiting for some: it
    is truncated. Where other bytes in the place of the last ones do not change it, they were not
    needed: something before is damaged, and the decoder lost count. Restart markers must be all
    there.
    """
    broken = f'it breaks off at byte {parts.end} of {len(content)}; the rest would be gray'
    if parts.missing:
        return broken
    lost = _lost_restarts(parts)
    if lost:
        return lost
    is_sequential = parts.frame.marker != _PROGRESSIVE
    is_plain = is_sequential and not parts.restart_interval
    if (not is_plain or _ends_flat(whole, parts.frame)) and _differs(whole, _filled(parts)):
        if not is_plain and not _differs(whole, _replaced_tail(parts, 0, _FILLER)):
            return 'data is missing between its restart markers'
        return broken
    if not is_plain:
        return ''
    data = parts.parts[-1]
    padding = len(data) - len(data.rstrip(b'\0'))
    if _TAIL + padding < len(data) // 2 and not _differs(
        whole, _replaced_tail(parts, _TAIL + padding, _FILLER[:_TAIL])
    ):
        return f'bytes before byte {parts.end} are damaged: data is left over at its end'
    return ''


def _pixels(parts: JpegParts) -> Image:
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with PIL.Image.open(io.BytesIO(parts.content), formats=('JPEG',)) as image:
            return np.asarray(image if image.mode == 'L' else image.convert('RGB'))


def _differs(whole: Image, changed: JpegParts) -> bool:
    try:
        return not np.array_equal(whole, _pixels(changed))
    except OSError:  # what was changed made it undecodable
        return True


def _filled(parts: JpegParts) -> JpegParts:
    """Returns the same with bytes behind the data, and before each restart marker."""
    last = _RESTART.sub(lambda marker: _FILLER[:_TAIL] + marker[0], parts.parts[-1])
    return _replaced_tail(replace(parts, parts=(*parts.parts[:-1], last)), 0, _FILLER)


def _replaced_tail(parts: JpegParts, removed: int, added: bytes) -> JpegParts:
    """Returns the same with other bytes at the end of its last scan."""
    last = parts.parts[-1]
    # A byte 0xFF alone would make a marker of what follows.
    changed = last[: len(last) - removed].rstrip(b'\xff') + added
    return replace(parts, parts=(*parts.parts[:-1], changed))


def _ends_flat(whole: Image, frame: JpegFrame) -> bool:
    """Returns whether the picture ends in one colour, as it does where its last unit is missing.

    Colours of the units around reach two pixels into it.
    """
    across, down = frame.unit
    last_width, last_height = (frame.width - 1) % across + 1, (frame.height - 1) % down + 1
    corner = whole[-last_height:, -last_width:]
    inside = corner[min(2, last_height - 1) :, min(2, last_width - 1) :]
    return bool((inside == inside[:1, :1]).all())


def _lost_restarts(parts: JpegParts) -> str:
    """Returns a sentence when restart markers are missing or out of order; '' when they are not."""
    if not parts.restart_interval or parts.frame.marker == _PROGRESSIVE:
        return ''
    found = [marker[0] - 0xD0 for marker in _RESTART.findall(parts.parts[-1])]
    expected = -(-parts.frame.units // parts.restart_interval) - 1
    if sum(part.startswith(bytes([0xFF, _SCAN])) for part in parts.parts) > 1:
        return ''
    if found != [number % 8 for number in range(expected)]:
        return f'{len(found)} of its {expected} restart markers are there, or not in their order'
    return ''


def _what(content: bytes) -> str:
    return f'a JPEG image of {len(content)} bytes'


class _Reader:
    """Walks through the segments of a JPEG, once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._reached: dict[tuple[int, int], int] = {}
        self._components: list[int] = []
        self.place = 2
        self.parts: list[bytes] = []
        self.frame: JpegFrame | None = None
        self.orientation = UPRIGHT
        self.has_scan = False
        self.restart_interval = 0

    @property
    def is_missing_coefficients(self) -> bool:
        """Whether a coefficient of a component did not come in all its bits."""
        return any(
            self._reached.get((component, coefficient), 1)
            for component in self._components
            for coefficient in range(64)
        )

    def read(self) -> None:
        """Reads to the end of the picture."""
        while (marker := self._next_marker()) is not None:
            if marker == 0xD9 or (marker == 0xD8 and self.has_scan):
                return
            if marker in _BARE or marker == 0xD8:
                self.place += 2
                continue
            length = int.from_bytes(self._content[self.place + 2 : self.place + 4], 'big')
            end = self.place + 2 + length
            if length < 2 or end > len(self._content):
                return
            segment = self._content[self.place : end]
            self.place = end
            self._take(marker, segment)

    def _next_marker(self) -> int | None:
        """Moves on to the next marker, over stray bytes, as decoders do."""
        while self.place + 1 < len(self._content):
            first, second = self._content[self.place : self.place + 2]
            if first == 0xFF and second not in (0x00, 0xFF):
                return second
            self.place += 1
        return None

    def _take(self, marker: int, segment: bytes) -> None:
        payload = segment[4:]
        if marker == _SCAN:
            self._take_scan(segment)
        elif marker in _FRAMES:
            self.frame = _frame(marker, payload)
            self._components = list(payload[6::3])
            self.parts.append(segment)
        elif marker in _TABLES:
            self.parts.append(segment)
            if marker == _TABLES_OF_RESTARTS and len(payload) >= 2:
                (self.restart_interval,) = struct.unpack_from('>H', payload)
        elif marker == 0xE1 and self.orientation == UPRIGHT:
            is_exif = payload.startswith(b'Exif\0')
            self.orientation = (
                exif_orientation(payload[6:]) if is_exif else xmp_orientation(payload)
            )

    def _take_scan(self, segment: bytes) -> None:
        ending = _END_OF_SCAN.search(self._content, self.place)
        end = ending.start() if ending else len(self._content)
        self.parts.append(segment + self._content[self.place : end].rstrip(b'\xff'))
        self.has_scan = end > self.place
        self.place = end
        count = segment[4]
        first, last, bits = segment[-3:]
        for component in segment[5 : 5 + 2 * count : 2]:
            for coefficient in range(first, min(last, 63) + 1):
                self._reached[component, coefficient] = bits & 0x0F


def _frame(marker: int, payload: bytes) -> JpegFrame | None:
    if len(payload) < 6:
        return None
    bits, height, width, count = struct.unpack_from('>BHHB', payload)
    factors = payload[7 : 6 + 3 * count : 3]
    if not count or len(factors) != count:
        return None
    across = max(factor >> 4 for factor in factors) if count > 1 else 1
    down = max(factor & 0x0F for factor in factors) if count > 1 else 1
    return JpegFrame(marker, bits, width, height, (8 * max(1, across), 8 * max(1, down)))
