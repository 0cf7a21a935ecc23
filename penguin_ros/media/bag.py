# SPDX-License-Identifier: Apache-2.0
"""Reads the images of a rosbag2 folder or mcap file with the rosbags library, which needs no
installed ROS 2; `open_recording` opens a video or a bag, whichever the path holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from penguin_ros.errors import ImageError
from penguin_ros.frame import Image, to_nanoseconds
from penguin_ros.frame_sampling import RecordingSampler
from penguin_ros.libraries import remedy
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.media.video import MediaError, VideoRecording

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


class Recording(Protocol):
    """Images with times; `duration_ns` is an estimate for progress."""

    duration_ns: int

    def frames(self, sample_fps: float = 0.0) -> Iterator[tuple[int, Image]]:
        """Yields (time in ns, RGB) with strictly increasing times; at most `sample_fps` above 0."""


def open_recording(path: Path, topic: str = '') -> Recording:
    """Opens a video file, a rosbag2 folder, or an .mcap/.db3 file of one; MediaError otherwise."""
    if not path.exists():
        raise MediaError(f'no such file or folder: {path}', '', 'Check the path')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        raise MediaError(
            f'{path} is a folder without metadata.yaml',
            'a rosbag2 folder has one',
            'Give the folder of a bag, or a video file',
        )
    if path.is_dir() or path.suffix in ('.mcap', '.db3'):
        return BagRecording(path.parent if path.suffix == '.db3' else path, topic)
    return VideoRecording(path)


class BagRecording:
    """One image topic of a bag.

    MediaError when the bag cannot be read, has no such topic, or has several and none was named.
    """

    def __init__(self, path: Path, topic: str = '') -> None:
        self.path = path
        with self._reader() as reader:
            self.topic = _chosen_topic(
                path,
                {c.topic: c.msgtype for c in reader.connections if c.msgtype in IMAGE_TYPES},
                topic,
            )
            self.duration_ns: int = int(reader.duration)
        self.dropped: Counter[str] = Counter()

    def frames(self, sample_fps: float = 0.0) -> Iterator[tuple[int, Image]]:
        """Yields (header stamp in ns, or the bag's time where that is zero; RGB).

        Images that do not convert are dropped and counted by cause in `dropped`.
        """
        sampler = RecordingSampler(sample_fps)
        with self._reader() as reader:
            connections = [c for c in reader.connections if c.topic == self.topic]
            for connection, bag_ns, raw in reader.messages(connections=connections):
                message: Any = reader.deserialize(raw, connection.msgtype)
                stamp_ns = to_nanoseconds(message.header.stamp) or bag_ns
                if not sampler.take(stamp_ns):
                    continue
                try:
                    yield stamp_ns, message_to_rgb(message)
                except ImageError as error:
                    self.dropped[error.cause] += 1

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        """Opens the bag and closes it at the end of the block."""
        try:
            from rosbags.highlevel import AnyReader, AnyReaderError
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise MediaError(
                f'cannot read the bag {self.path}', f'{error}', remedy(error, 'rosbags')
            ) from error
        try:
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except (AnyReaderError, OSError, ValueError, KeyError) as error:
            raise MediaError(
                f'cannot read the bag {self.path}', str(error), 'Check it with: ros2 bag info BAG'
            ) from error
        try:
            yield reader
        finally:
            reader.close()


def _chosen_topic(path: Path, topics: dict[str, str], wanted: str) -> str:
    if wanted in topics or (not wanted and len(topics) == 1):
        return wanted or next(iter(topics))
    listed = ', '.join(sorted(topics)) or 'none'
    what = (
        f'{path} has no image topic {wanted}'
        if wanted
        else f'{path} has {len(topics)} image topics'
    )
    raise MediaError(
        what, f'its image topics: {listed}', 'Choose one with --topic NAME' if topics else ''
    )
