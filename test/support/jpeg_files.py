# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files for tests, whole ones and such as broken cables and odd writers make."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import PIL.Image

from penguin_ros.frame import Image


def scenery(height: int = 240, width: int = 320, seed: int = 0) -> Image:
    """Soft colours with some noise, such as cameras give."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(2, height // 32), max(2, width // 32), 3), np.uint8)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(soft + random.integers(-6, 7, soft.shape), 0, 255).astype(np.uint8)


def file_of(pixels: Any, kind: str = 'JPEG', **options: Any) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """The JPEG with segments (marker, payload) right after its start."""
    made = b''.join(
        bytes([0xFF, marker]) + struct.pack('>H', len(payload) + 2) + payload
        for marker, payload in segments
    )
    return jpeg[:2] + made + jpeg[2:]


def with_chunk(png: bytes, kind: bytes, payload: bytes, check: bytes | None = None) -> bytes:
    """The PNG with a chunk after its header; `check` in the place of the right checksum."""
    right = struct.pack('>I', zlib.crc32(kind + payload))
    made = struct.pack('>I', len(payload)) + kind + payload + (check or right)
    return png[:33] + made + png[33:]


def data_start(jpeg: bytes) -> int:
    """Where the data of the first scan begins."""
    scan = jpeg.index(b'\xff\xda')
    return scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], 'big')
