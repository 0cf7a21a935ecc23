# SPDX-License-Identifier: Apache-2.0
"""Video files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.media.video import MediaError, VideoRecording


def test_real_video_gives_every_frame_with_its_media_time(video_path: Path) -> None:
    video = VideoRecording(video_path)
    times = [time for time, _ in video.frames()]
    assert times == [index * 40_000_000 for index in range(730)]
    assert video.duration_ns == 29_200_000_000


def test_frames_are_rgb_of_the_video_size(video_path: Path) -> None:
    import cv2

    _, image = next(iter(VideoRecording(video_path).frames(1.0)))
    _, bgr = cv2.VideoCapture(str(video_path)).read()
    assert image.shape == (342, 608, 3)
    assert (image == bgr[:, :, ::-1]).all()


def test_something_else_than_a_video_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / 'fake.mp4'
    path.write_bytes(b'not a video' * 100)
    with pytest.raises(MediaError, match='fake.mp4'):
        VideoRecording(path)
