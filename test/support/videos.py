# SPDX-License-Identifier: Apache-2.0
"""Small videos, whole, damaged and cut, and containers written by hand around their frames."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_film(path: Path, count: int = 60, hz: float = 10.0, codec: str = 'mp4v') -> Path:
    """A red box that moves over grey."""
    import cv2

    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), hz, (96, 64)
    )
    for index in range(count):
        picture = np.full((64, 96, 3), 110, np.uint8)
        place = index % 60
        picture[20:44, place : place + 30] = (20, 20, 230)
        writer.write(picture)
    writer.release()
    return path


def damage(path: Path, start: float, end: float) -> Path:
    """Turns bits over in a part of a file, given as shares of its size."""
    data = bytearray(path.read_bytes())
    for place in range(int(len(data) * start), int(len(data) * end)):
        data[place] ^= 0x5A
    path.write_bytes(data)
    return path


def jpeg(grey: int) -> bytes:
    """A JPEG image of one grey."""
    import cv2

    return bytes(cv2.imencode('.jpg', np.full((48, 64, 3), grey, np.uint8))[1])


def write_matroska(
    path: Path, times_ms: Sequence[int], sound_ms: Sequence[int] = (), size: int | None = None
) -> Path:
    """An MJPEG video whose image n has the grey value 8 n (modulo 256), at these times, with bytes
    of sound at others; `size` bytes are promised instead of the true size.
    """
    video = _element(0xD7, b'\1') + _element(0x73C5, b'\1') + _element(0x83, b'\1')
    video += _element(0x86, b'V_MJPEG')
    video += _element(0xE0, _element(0xB0, b'\x40') + _element(0xBA, b'\x30'))
    sound = _element(0xD7, b'\2') + _element(0x73C5, b'\2') + _element(0x83, b'\2')
    sound += _element(0x86, b'A_PCM/INT/LIT')
    rate = _element(0xB5, struct.pack('>f', 8000.0)) + _element(0x9F, b'\1')
    sound += _element(0xE1, rate + _element(0x6264, b'\x10'))
    tracks = _element(0xAE, video) + (_element(0xAE, sound) if sound_ms else b'')
    blocks = [(time, _block(1, time, jpeg(8 * index % 256))) for index, time in enumerate(times_ms)]
    blocks += [(time, _block(2, time, bytes(160))) for time in sound_ms]
    clusters = b''.join(block for _, block in sorted(blocks))
    content = _element(0x1549A966, _element(0x2AD7B1, (1_000_000).to_bytes(4, 'big')))
    content += _element(0x1654AE6B, tracks) + clusters
    head = _element(0x1A45DFA3, _element(0x4282, b'matroska'))
    path.write_bytes(head + _element(0x18538067, content, size))
    return path


def _block(track: int, time_ms: int, content: bytes) -> bytes:
    """A cluster with one block."""
    block = bytes([0x80 | track]) + struct.pack('>hB', 0, 0x80) + content
    return _element(0x1F43B675, _element(0xE7, time_ms.to_bytes(4, 'big')) + _element(0xA3, block))


def _element(kind: int, content: bytes, size: int | None = None) -> bytes:
    name = kind.to_bytes((kind.bit_length() + 7) // 8, 'big')
    length = len(content) if size is None else size
    return name + (length | 1 << 56).to_bytes(8, 'big') + content


def with_empty_edit(path: Path, delay_ms: int) -> Path:
    """Gives the video track of an MP4 file an edit list that begins with nothing for a while."""
    data = path.read_bytes()
    movie = data.index(b'moov') - 4
    track = data.index(b'trak', movie) - 4
    scale = struct.unpack_from('>I', data, data.index(b'mvhd', movie) + 16)[0]
    length = struct.unpack_from('>I', data, data.index(b'mvhd', movie) + 20)[0]
    entries = struct.pack('>Iii', delay_ms * scale // 1000, -1, 0x10000)
    entries += struct.pack('>Iii', length, 0, 0x10000)
    edits = struct.pack('>I4sII', 16 + len(entries), b'elst', 0, 2) + entries
    edits = struct.pack('>I4s', 8 + len(edits), b'edts') + edits
    old = data.find(b'edts', track)
    if old > 0:
        size = struct.unpack_from('>I', data, old - 4)[0]
        data = data[: old - 4] + data[old - 4 + size :]
        edits_at, added = old - 4, len(edits) - size
    else:
        edits_at = data.index(b'tkhd', track) - 4
        edits_at += struct.unpack_from('>I', data, edits_at)[0]
        added = len(edits)
    data = data[:edits_at] + edits + data[edits_at:]
    for box in (movie, track):
        size = struct.unpack_from('>I', data, box)[0] + added
        data = data[:box] + struct.pack('>I', size) + data[box + 4 :]
    path.write_bytes(data)
    return path
