# SPDX-License-Identifier: Apache-2.0
"""What the bytes of a video file say that OpenCV does not tell: how long after the file's zero its
first image comes, and whether the file ends before its end.

Known are MP4 and MOV (boxes), Matroska and WebM (EBML elements), MPEG transport streams and AVI.
Of others nothing is said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from penguin_ros.frame import NANOSECONDS

EBML, SEGMENT, CLUSTER, TRACKS, TRACK, INFO = (
    *(0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0x1549A966),
)
TRACK_NUMBER, TRACK_TYPE, TIME_SCALE, CLUSTER_TIME = 0xD7, 0x83, 0x2AD7B1, 0xE7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xA3, 0xA0, 0xA1
VIDEO_TRACK = 1
UNKNOWN_SIZE = -1
SEARCHED_BYTES = 16 * 1024 * 1024
"""How much of a transport stream, and of blocks, is searched for the first times."""

PACKET, SYNC = 188, 0x47
PTS_HZ = 90_000
PTS_TURN = 2**33
VIDEO_STREAMS, AUDIO_STREAMS = range(0xE0, 0xF0), (*range(0xC0, 0xE0), 0xBD)


@dataclass(frozen=True)
class ContainerFacts:
    """`delay_ns`: how long after the file's zero the first image comes; `is_cut`: the file is
    shorter than it says itself; `has_count`: the number of frames stands in its head, apart from
    the frames themselves.
    """

    delay_ns: int = 0
    is_cut: bool = False
    has_count: bool = False


def container_facts(path: Path) -> ContainerFacts:
    """Returns what a file says; nothing where it is of an unknown kind or makes no sense."""
    with path.open('rb') as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(PACKET + 1)
        file.seek(0)
        try:
            if start[4:8] in (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide'):
                return _boxes_facts(file, size)
            if start.startswith(EBML.to_bytes(4, 'big')):
                return _matroska_facts(file, size)
            if start[:4] == b'RIFF' and len(start) >= 8:
                promised = struct.unpack_from('<I', start, 4)[0] + 8
                return ContainerFacts(0, 8 < promised and size < promised, has_count=True)
            if start[:1] == start[PACKET:] == bytes([SYNC]):
                return ContainerFacts(_stream_delay_ns(file.read(SEARCHED_BYTES)))
        except (struct.error, IndexError, ValueError, ZeroDivisionError):
            return ContainerFacts()
    return ContainerFacts()


# --- MP4 ------------------------------------------------------------------------------------------


def _boxes_facts(file: BinaryIO, size: int) -> ContainerFacts:
    delay_ns, place = 0, 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length, kind = struct.unpack_from('>I4s', head)
        head_size = 8
        if length == 1:
            length, head_size = struct.unpack_from('>Q', head, 8)[0], 16
        length = length or size - place
        if length < head_size:
            break
        if kind == b'moov':
            file.seek(place + head_size)
            delay_ns = _movie_delay_ns(file.read(length - head_size))
        place += length
    return ContainerFacts(delay_ns, place > size)


def _movie_delay_ns(movie: bytes) -> int:
    """The empty edit with which the first video track begins."""
    scale = 0
    for kind, box in _boxes(movie):
        if kind == b'mvhd':
            scale = struct.unpack_from('>I', box, 20 if box[0] == 1 else 12)[0]
    for kind, track in _boxes(movie):
        if kind != b'trak' or _handler(track) != b'vide' or not scale:
            continue
        edits = _inner(_inner(track, b'edts'), b'elst')
        return _empty_edit(edits) * NANOSECONDS // scale
    return 0


def _empty_edit(edits: bytes) -> int:
    if len(edits) < 8:
        return 0
    form, item = ('>Qq', 20) if edits[0] == 1 else ('>Ii', 12)
    total = 0
    for number in range(struct.unpack_from('>I', edits, 4)[0]):
        duration, media_time = struct.unpack_from(form, edits, 8 + number * item)
        if media_time != -1:
            break
        total += duration
    return int(total)


def _handler(track: bytes) -> bytes:
    return _inner(_inner(track, b'mdia'), b'hdlr')[8:12]


def _inner(box: bytes, wanted: bytes) -> bytes:
    return next((content for kind, content in _boxes(box) if kind == wanted), b'')


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack_from('>I4s', content, place)
        if length < 8:
            return
        yield kind, content[place + 8 : place + length]
        place += length


# --- Matroska -------------------------------------------------------------------------------------


def _matroska_facts(file: BinaryIO, size: int) -> ContainerFacts:
    content = file.read(SEARCHED_BYTES)
    _, place, length = _element(content, 0)
    kind, start, length = _element(content, place + length)
    if kind != SEGMENT:
        return ContainerFacts()
    is_cut = length != UNKNOWN_SIZE and start + length > size
    end = len(content) if length == UNKNOWN_SIZE else min(len(content), start + length)
    scale, video, first_ns, video_ns = 1_000_000, 0, -1, -1
    for kind, place, length in _elements(content, start, end):
        inner = content[place : place + length] if length != UNKNOWN_SIZE else content[place:]
        if kind == INFO:
            scale = _number(inner, TIME_SCALE) or scale
        elif kind == TRACKS:
            video = _video_track(inner)
        elif kind == CLUSTER:
            for track, ticks in _blocks(inner):
                first_ns = ticks * scale if first_ns < 0 else min(first_ns, ticks * scale)
                video_ns = ticks * scale if track == video and video_ns < 0 else video_ns
            if video_ns >= 0:
                break
    return ContainerFacts(max(0, video_ns - max(0, first_ns)) if video_ns >= 0 else 0, is_cut)


def _video_track(tracks: bytes) -> int:
    for kind, place, length in _elements(tracks, 0, len(tracks)):
        entry = tracks[place : place + length]
        if kind == TRACK and _number(entry, TRACK_TYPE) == VIDEO_TRACK:
            return _number(entry, TRACK_NUMBER)
    return 0


def _blocks(cluster: bytes) -> Iterator[tuple[int, int]]:
    """Yields (track, time in ticks) of the blocks of a cluster."""
    time = 0
    for kind, place, length in _elements(cluster, 0, len(cluster)):
        content = cluster[place : place + length]
        if kind == CLUSTER_TIME:
            time = int.from_bytes(content, 'big')
        elif kind == BLOCK_GROUP:
            inner = next((e for e in _elements(content, 0, len(content)) if e[0] == BLOCK), None)
            content = content[inner[1] : inner[1] + inner[2]] if inner else b''
        elif kind != SIMPLE_BLOCK:
            continue
        if kind in (BLOCK_GROUP, SIMPLE_BLOCK) and len(content) >= 4:
            track, used = _size(content, 0)
            yield track, time + struct.unpack_from('>h', content, used)[0]


def _number(content: bytes, wanted: int) -> int:
    for kind, place, length in _elements(content, 0, len(content)):
        if kind == wanted:
            return int.from_bytes(content[place : place + length], 'big')
    return 0


def _elements(content: bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    while place < end:
        try:
            kind, start, length = _element(content, place)
        except IndexError:
            return
        yield kind, start, length
        if length == UNKNOWN_SIZE:
            # A live stream: what it holds follows as if it lay beside it.
            place = start
        else:
            place = start + length


def _element(content: bytes, place: int) -> tuple[int, int, int]:
    """Returns (id, place of the content, its length) of the element at a place."""
    width = 9 - content[place].bit_length()
    kind = int.from_bytes(content[place : place + width], 'big')
    length, used = _size(content, place + width)
    if length == 2 ** (7 * used) - 1:
        length = UNKNOWN_SIZE
    return kind, place + width + used, length


def _size(content: bytes, place: int) -> tuple[int, int]:
    """Returns a number of variable width and how many bytes it takes."""
    width = 9 - content[place].bit_length()
    if width > 8:
        raise IndexError('no number')
    raw = int.from_bytes(content[place : place + width], 'big')
    return raw & (2 ** (7 * width) - 1), width


# --- MPEG transport streams -----------------------------------------------------------------------


def _stream_delay_ns(content: bytes) -> int:
    """How long after the first time stamp of any stream that of the video is."""
    firsts: dict[int, tuple[int, int]] = {}
    for place in range(0, len(content) - PACKET + 1, PACKET):
        packet = content[place : place + PACKET]
        if packet[0] != SYNC or not packet[1] & 0x40:
            continue
        number = (packet[1] & 0x1F) << 8 | packet[2]
        offset = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        payload = packet[offset:]
        if number not in firsts and payload[:3] == b'\0\0\1' and len(payload) > 13:
            stream = payload[3]
            if payload[7] & 0x80 and (stream in VIDEO_STREAMS or stream in AUDIO_STREAMS):
                firsts[number] = stream, _pts(payload[9:14])
    videos = [pts for stream, pts in firsts.values() if stream in VIDEO_STREAMS]
    if not videos:
        return 0
    delay = max((videos[0] - pts) % PTS_TURN for _, pts in firsts.values())
    return delay * NANOSECONDS // PTS_HZ if delay < PTS_TURN // 2 else 0


def _pts(field: bytes) -> int:
    return (
        (field[0] >> 1 & 0x07) << 30
        | field[1] << 22
        | (field[2] >> 1) << 15
        | field[3] << 7
        | field[4] >> 1
    )
