# SPDX-License-Identifier: Apache-2.0
"""rosbag2 recordings, written by the rosbags library as ros2 bag record would."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.errors import UnsupportedEncoding
from penguin_ros.frame import Image
from penguin_ros.recording.bag import BagRecording
from penguin_ros.recording.open_recording import open_recording
from penguin_ros.recording.video import RecordingError

pytest.importorskip('rosbags')

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def write_bag(path: Path, topics: tuple[str, ...], count: int = 8, encodings: tuple[str, ...] = ('rgb8',),
              zero_stamps: bool = False, storage: str = 'sqlite3') -> Path:
    """4 Hz of 6×4 pictures whose pixels are all their index; the topics alternate."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_JAZZY)
    names = ('sensor_msgs/msg/Image', 'std_msgs/msg/Header', 'builtin_interfaces/msg/Time')
    image, header, time = (store.types[name] for name in names)
    plugin = StoragePlugin.SQLITE3 if storage == 'sqlite3' else StoragePlugin.MCAP
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = [writer.add_connection(topic, 'sensor_msgs/msg/Image', typestore=store) for topic in topics]
        for index in range(count):
            stamp = START + index * SECOND // 4
            stamp_message = time(0, 0) if zero_stamps else time(stamp // SECOND, stamp % SECOND)
            message = image(header(stamp_message, 'optical'), 4, 6, encodings[index % len(encodings)], 0, 18,
                            np.full(72, index, np.uint8))
            writer.write(connections[index % len(topics)], stamp, store.serialize_cdr(message, 'sensor_msgs/msg/Image'))
    return path


def to_rgb(message: Any) -> Image:
    if message.encoding != 'rgb8':
        raise UnsupportedEncoding(message.encoding)
    return np.asarray(message.data, np.uint8).reshape(message.height, message.width, 3)


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_bag_gives_stamps_and_pixels(tmp_path: Path, storage: str) -> None:
    recording = open_recording(write_bag(tmp_path / 'bag', ('/camera/image_raw',), storage=storage), to_rgb)
    frames = list(recording.frames(2.0))
    assert [time - START for time, _ in frames] == [0, SECOND // 2, SECOND, 3 * SECOND // 2]
    assert [int(image[0, 0, 0]) for _, image in frames] == [0, 2, 4, 6]


def test_single_file_of_a_bag_opens_too(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', ('/camera/image_raw',))
    file = next(bag.glob('*.db3'))
    assert len(list(open_recording(file, to_rgb).frames())) == 8


def test_zero_stamps_take_the_time_of_recording(tmp_path: Path) -> None:
    recording = BagRecording(write_bag(tmp_path / 'bag', ('/image',), zero_stamps=True), to_rgb)
    assert [time - START for time, _ in recording.frames()][:2] == [0, SECOND // 4]


def test_several_topics_need_a_name_and_are_listed(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', ('/left', '/right'))
    with pytest.raises(RecordingError, match='/left, /right'):
        BagRecording(bag, to_rgb)
    assert len(list(BagRecording(bag, to_rgb, '/right').frames())) == 4


def test_pictures_that_do_not_convert_are_dropped_and_counted(tmp_path: Path) -> None:
    recording = BagRecording(write_bag(tmp_path / 'bag', ('/image',), encodings=('rgb8', 'strange')), to_rgb)
    assert len(list(recording.frames())) == 4
    assert recording.dropped == {'encoding': 4}


def test_damaged_bag_is_a_named_error(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', ('/image',))
    (bag / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
    with pytest.raises(RecordingError, match='cannot read the bag'):
        BagRecording(bag, to_rgb)


def test_folder_without_metadata_and_missing_path_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match='metadata.yaml'):
        open_recording(tmp_path, to_rgb)
    with pytest.raises(RecordingError, match='no such file'):
        open_recording(tmp_path / 'absent.mp4', to_rgb)
