# SPDX-License-Identifier: Apache-2.0
"""Whatever is given as a recording is read, or called what it is with the command that helps."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bag_pictures import seen, steady, tenths, write_pictures
from support.videos import jpeg, write_film

from penguin_ros.media.recordings import open_recording
from penguin_ros.media.video import MediaError

pytest.importorskip('rosbags')


def greys(count: int) -> list[Image.Image]:
    return [Image.fromarray(np.full((24, 32, 3), 10 * n, np.uint8)) for n in range(count)]


@pytest.mark.parametrize(
    'name', ['UPPER.MCAP', 'no suffix at all', 'wrong.mp4', 'one.mcap.zstd', 'dir #1 %d?/x.mcap']
)
def test_the_bytes_of_a_bag_decide_not_its_name(tmp_path: Path, name: str) -> None:
    mode = 'file' if name.endswith('zstd') else ''
    bag = write_pictures(tmp_path / 'bag', steady(40), compression=mode)
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    shutil.move(next(bag.glob('bag.mcap*')), target)
    assert seen(open_recording(target)) == (tenths(40), list(range(40)))


def test_the_metadata_of_a_bag_stands_for_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(10))
    assert seen(open_recording(bag / 'metadata.yaml'))[1] == list(range(10))
    monkeypatch.chdir(bag)
    assert seen(open_recording(Path('metadata.yaml')))[1] == list(range(10))


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png'])
def test_animated_images_are_read_at_their_own_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'moving.{suffix}'
    mode = 'L' if suffix == 'gif' else 'RGB'  # of colours, an old Pillow keeps few in a GIF
    first, *others = (each.convert(mode) for each in greys(6))
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=[100, 200, 300, 400, 500, 600],
        **({'lossless': True} if suffix == 'webp' else {}),
    )
    recording = open_recording(path)
    found, values = seen(recording)
    assert found == [0.0, 0.1, 0.3, 0.6, 1.0, 1.5]
    assert values == pytest.approx([0, 10, 20, 30, 40, 50], abs=3)
    assert recording.duration_ns == 2_100_000_000 and recording.account.is_seen_to_the_end


def test_a_still_image_is_one_frame_and_a_row_of_them_a_video(tmp_path: Path) -> None:
    (tmp_path / 'one.jpg').write_bytes(jpeg(80))
    assert len(seen(open_recording(tmp_path / 'one.jpg'))[0]) == 1
    (tmp_path / 'row.mjpeg').write_bytes(b''.join(jpeg(8 * n) for n in range(12)))
    assert len(seen(open_recording(tmp_path / 'row.mjpeg'))[0]) == 12


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is empty'),
        (bytes(5000), 'begins with zeros'),
        (b'#ROSBAG V2.0\n' + bytes(4096), 'ROS 1.*rosbags-convert --src .*film'),
        (b'version https://git-lfs.github.com/spec/v1\noid', 'Git LFS.*git lfs pull'),
        (b'\x1f\x8b\x08' + bytes(200), 'gunzip'),
        (b'PK\x03\x04' + bytes(200), 'unzip'),
        (b'<!DOCTYPE html><html>', 'web page'),
        (b'GIF89a' + bytes(3), 'damaged'),
        (b'\x89PNG\r\n\x1a\n' + bytes(30), 'damaged'),
        (b'\x89MCAP0\r\n', 'no topic at all'),
        (b'SQLite format 3\0' + bytes(200), 'cannot read the bag'),
        (b'no recording at all ' * 50, 'not a video.*ffmpeg -i .*film'),
    ],
)
@pytest.mark.parametrize('name', ['film.mp4', 'film.mcap', 'film.db3'])
def test_what_is_no_recording_is_called_what_it_is(
    tmp_path: Path, content: bytes, words: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    if 'not a video' in words and name != 'film.mp4':
        words = 'neither MCAP nor SQLite'
    with pytest.raises(MediaError, match=words):
        open_recording(tmp_path / name)


def test_folders_say_what_is_in_them(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match='holds no bag.*metadata.yaml'):
        open_recording(tmp_path)
    (tmp_path / 'a.jpg').write_bytes(jpeg(9))
    with pytest.raises(MediaError, match='holds 1 images.*ffmpeg -framerate'):
        open_recording(tmp_path)
    bag = write_pictures(tmp_path / 'bags' / 'monday', steady(2))
    with pytest.raises(MediaError, match=f'1 bags.*{bag}'):
        open_recording(tmp_path / 'bags')
    with pytest.raises(MediaError, match='No such file'):
        open_recording(tmp_path / 'absent.mp4')
    for file in bag.glob('*.mcap'):
        file.unlink()
    with pytest.raises(MediaError, match='metadata.yaml is there, the data is not'):
        open_recording(bag)


def test_a_name_that_the_system_refuses_is_no_crash(tmp_path: Path) -> None:
    write_film(tmp_path / 'film.mp4', 3)
    for name in ('x' * 300, 'film.mp4/inside'):
        with pytest.raises(MediaError, match='cannot read'):
            open_recording(tmp_path / name)
