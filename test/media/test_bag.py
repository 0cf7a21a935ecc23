# SPDX-License-Identifier: Apache-2.0
"""rosbag2 recordings, written by the rosbags library as ros2 bag record would."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bags import SECOND, START, write_bag

from penguin_ros.media.bag import BagRecording
from penguin_ros.media.recordings import open_recording
from penguin_ros.media.video import MediaError

pytest.importorskip('rosbags')


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_bag_gives_stamps_and_pixels(tmp_path: Path, storage: str) -> None:
    recording = open_recording(write_bag(tmp_path / 'bag', ('/camera/image_raw',), storage=storage))
    frames = list(recording.frames(2.0))
    assert [time - START for time, _ in frames] == [0, SECOND // 2, SECOND, 3 * SECOND // 2]
    assert [int(image[0, 0, 0]) for _, image in frames] == [0, 2, 4, 6]


def test_single_file_of_a_bag_opens_too(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', ('/camera/image_raw',))
    file = next(bag.glob('*.db3'))
    assert len(list(open_recording(file).frames())) == 8


def test_zero_stamps_take_the_time_of_recording(tmp_path: Path) -> None:
    recording = BagRecording(write_bag(tmp_path / 'bag', ('/image',), zero_stamps=True))
    assert [time - START for time, _ in recording.frames()][:2] == [0, SECOND // 4]


def test_several_topics_need_a_name_and_are_listed(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', ('/left', '/right'))
    with pytest.raises(MediaError, match='/left .4 images., /right .4 images.'):
        BagRecording(bag)
    assert len(list(BagRecording(bag, '/right').frames())) == 4


def test_images_that_do_not_convert_are_dropped_and_counted(tmp_path: Path) -> None:
    recording = BagRecording(
        write_bag(tmp_path / 'bag', ('/image',), encodings=('rgb8', 'strange'))
    )
    assert len(list(recording.frames())) == 4
    assert recording.account.left_out['encoding'].count == 4
    assert "'strange'" in recording.account.lines()[0] and 'rgb8' in recording.account.lines()[0]
