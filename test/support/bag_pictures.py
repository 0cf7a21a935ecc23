# SPDX-License-Identifier: Apache-2.0
"""Bags of a camera whose image n has the grey value n, with whatever stamps, bytes and neighbours a
test wants; written by the rosbags library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TENTH = 100_000_000
START = 1_700_000_000_000_000_000
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
HEIGHT, WIDTH = 24, 32


def store() -> Any:
    """The message types of ROS 2."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def image_bytes(types: Any, stamp_ns: int, grey: int, encoding: str = 'rgb8') -> bytes:
    """A serialized image of one grey."""
    time = types.types['builtin_interfaces/msg/Time'](
        sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    header = types.types['std_msgs/msg/Header'](stamp=time, frame_id='camera')
    message = types.types[IMAGE](
        header, HEIGHT, WIDTH, encoding, 0, 3 * WIDTH, np.full(3 * WIDTH * HEIGHT, grey, np.uint8)
    )
    return bytes(types.serialize_cdr(message, IMAGE))


def write_pictures(
    folder: Path,
    stamps_ns: Sequence[int],
    *,
    storage: str = 'mcap',
    bag_ns: Sequence[int] | None = None,
    damaged: Iterable[int] = (),
    encodings: Sequence[str] = ('rgb8',),
    compression: str = '',
    before: Iterable[tuple[str, str, str, int]] = (),
) -> Path:
    """Writes one image per stamp on /camera/image, recorded at 10 Hz unless `bag_ns` says when.

    `damaged` messages are cut short, `encodings` take turns, `compression` is 'file', 'message' or
    'storage'; `before` are (topic, type, definition, time) of others with one message each.
    """
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    types = store()
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    writer = Writer(folder, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    cut = set(damaged)
    with writer:
        for topic, kind, definition, time_ns in before:
            other = writer.add_connection(
                topic, kind, msgdef=definition, rihs01='RIHS01_' + '0' * 64
            )
            writer.write(other, time_ns, b'\0\1\0\0' + bytes(8))
        camera = writer.add_connection('/camera/image', IMAGE, typestore=types)
        for index, stamp_ns in enumerate(stamps_ns):
            data = image_bytes(types, stamp_ns, index % 256, encodings[index % len(encodings)])
            time_ns = START + index * TENTH if bag_ns is None else bag_ns[index]
            writer.write(camera, time_ns, data[:50] if index in cut else data)
    return folder


def seen(recording: Any, **limits: Any) -> tuple[list[float], list[int]]:
    """The times since the origin, in seconds, and the grey values of all images of a recording."""
    found = [
        ((time_ns - recording.origin_ns) / 1e9, int(image[0, 0, 0]))
        for time_ns, image in recording.frames(**limits)
    ]
    return [round(time, 6) for time, _ in found], [grey for _, grey in found]


def steady(count: int) -> list[int]:
    """Stamps of a camera at 10 Hz."""
    return [START + index * TENTH for index in range(count)]


def tenths(count: int, first: float = 0.0) -> list[float]:
    """The times of such a camera in seconds."""
    return [round(first + index / 10, 6) for index in range(count)]
