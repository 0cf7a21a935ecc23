# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 recording, written by the rosbags library as `ros2 bag record` would."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def write_bag(
    path: Path,
    topics: tuple[str, ...],
    count: int = 8,
    encodings: tuple[str, ...] = ('rgb8',),
    zero_stamps: bool = False,
    storage: str = 'sqlite3',
) -> Path:
    """4 Hz of 6×4 pictures whose pixels are all their index; the topics alternate."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    names = ('sensor_msgs/msg/Image', 'std_msgs/msg/Header', 'builtin_interfaces/msg/Time')
    image, header, time = (store.types[name] for name in names)
    plugin = StoragePlugin.SQLITE3 if storage == 'sqlite3' else StoragePlugin.MCAP
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = [
            writer.add_connection(topic, 'sensor_msgs/msg/Image', typestore=store)
            for topic in topics
        ]
        for index in range(count):
            stamp = START + index * SECOND // 4
            stamp_message = time(0, 0) if zero_stamps else time(stamp // SECOND, stamp % SECOND)
            message = image(
                header(stamp_message, 'optical'),
                4,
                6,
                encodings[index % len(encodings)],
                0,
                18,
                np.full(72, index, np.uint8),
            )
            writer.write(
                connections[index % len(topics)],
                stamp,
                store.serialize_cdr(message, 'sensor_msgs/msg/Image'),
            )
    return path
