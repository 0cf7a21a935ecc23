# SPDX-License-Identifier: Apache-2.0
"""Sources of a camera node: the right image at each media time, and named errors."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from penguin_ros.media.source import LiveDevice, open_source
from penguin_ros.media.video import MediaError

SECOND = 1_000_000_000
FRAMES, HZ = 8, 10.0


def gray(level, height=32, width=48):
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def film(tmp_path):
    """Eight frames at 10 Hz whose brightness tells their number."""
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), HZ, (48, 32))
    for number in range(FRAMES):
        writer.write(gray(30 * number))
    writer.release()
    return path


def shown(source):
    """The number of the film's frame that is current."""
    return round(float(source.image().mean()) / 30)


def test_a_film_shows_the_frame_of_each_time_and_goes_on_from_the_start(film):
    source = open_source(str(film))
    assert source.native_hz == HZ and not source.is_live
    seen = [
        (source.advance(round(tick * SECOND / HZ)), shown(source))[1] for tick in range(3 * FRAMES)
    ]
    assert seen == [*range(FRAMES)] * 3


def test_a_lower_rate_leaves_frames_out_and_a_higher_one_repeats_them(film):
    for step_hz, expected in ((5.0, [0, 2, 4, 6, 0, 2]), (20.0, [0, 0, 1, 1, 2, 2])):
        source = open_source(str(film))
        assert [
            (source.advance(round(tick * SECOND / step_hz)), shown(source))[1] for tick in range(6)
        ] == expected


def test_a_film_that_does_not_loop_ends(film):
    source = open_source(str(film), is_looping=False)
    assert source.advance(round((FRAMES - 1) * SECOND / HZ)) and shown(source) == FRAMES - 1
    assert not source.advance(round(FRAMES * SECOND / HZ))


def test_a_late_camera_catches_up_over_laps(film):
    source = open_source(str(film))
    source.advance(0)
    assert source.advance(round((5 * FRAMES + 3) * SECOND / HZ)) and shown(source) == 3


def test_a_folder_shows_its_images_in_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f'frame{number}.png'), gray(30 * number % 256))
    (tmp_path / 'frame3.jpg').write_bytes(b'no image')
    (tmp_path / 'notes.txt').write_text('not one either')
    source = open_source(str(tmp_path), hz=2.0)
    seen = [
        (source.advance(round(tick * SECOND / 2.0)), int(source.image().mean()))[1]
        for tick in range(8)
    ]
    assert (
        seen[0:2] == [30, 60]
        and seen[-3:] in ([30, 60, 44], [60, 44, 30], [44, 30, 60])
        and set(seen) == {30, 60, 44}
    )


def test_a_folder_that_does_not_loop_ends(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), gray(9))
    source = open_source(str(tmp_path), is_looping=False, hz=4.0)
    assert source.advance(0) and not source.advance(SECOND // 4)


def test_a_live_device_throws_away_what_comes_too_early(film):
    class Recorded:
        """A capture of the film that gives as many frames as are asked for."""

        def __init__(self):
            self.grabs = 0
            self._capture = cv2.VideoCapture(str(film))
            self.get = self._capture.get
            self.retrieve = self._capture.retrieve
            self.release = self._capture.release

        def grab(self):
            self.grabs += 1
            return self.grabs <= 1 or cv2.waitKey(1) is not None

    class Endless(Recorded):
        def grab(self):
            self.grabs += 1
            return True if self.grabs > 1 else self._capture.grab()

    capture = Endless()
    source = LiveDevice(capture, '/dev/video0')
    assert source.is_live and source.native_hz == HZ
    assert source.advance(0) and capture.grabs == 1
    assert source.advance(round(0.2 * SECOND)) and capture.grabs > 10
    assert shown(source) == 0


def test_a_live_device_that_falls_silent_is_an_error(film):
    source = LiveDevice(cv2.VideoCapture(str(film)), '/dev/video0')
    with pytest.raises(MediaError, match='/dev/video0 stopped'):
        source.advance(3600 * SECOND)


@pytest.mark.parametrize(
    ('source', 'reason'),
    [
        ('', 'no source given'),
        ('/nowhere/film.mp4', 'no such file'),
        ('/dev/video9876', 'no such device'),
        (__file__, 'not a video'),
    ],
)
def test_a_source_that_cannot_be_used_is_named(source, reason):
    with pytest.raises(MediaError, match=reason) as error:
        open_source(source)
    assert error.value.fix


def test_an_empty_film_and_an_empty_folder_are_named(tmp_path):
    (tmp_path / 'empty.mp4').write_bytes(b'')
    with pytest.raises(MediaError, match='empty.mp4'):
        open_source(str(tmp_path / 'empty.mp4'))
    with pytest.raises(MediaError, match='no image in the folder'):
        open_source(str(tmp_path))


def test_images_whose_names_are_no_text_are_read_and_an_empty_one_is_left_out(tmp_path):
    content = cv2.imencode('.png', gray(60))[1].tobytes()
    for name, written in ((b'1\xe4.png', content), (b'2.png', b''), (b'3.png', content)):
        (tmp_path / os.fsdecode(name)).write_bytes(written)
    source = open_source(str(tmp_path), hz=2.0)
    for tick in range(4):
        source.advance(tick * SECOND // 2)
        assert int(source.image().mean()) == 60
