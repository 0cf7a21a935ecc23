# SPDX-License-Identifier: Apache-2.0
"""What the camera of `penguin bench live` sees: one scene is static, the other changes, wherever
the images are from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.frame_plans import similarity

from penguin_ros.benchmark.live import scenes
from penguin_ros.benchmark.live.scenes import (
    CHANGING,
    STATIC,
    Stream,
    clip_images,
    further_images,
    stream,
    write_video,
)
from penguin_ros.errors import BackendUnavailable
from penguin_ros.media.video import MediaError, VideoRecording
from penguin_ros.preprocessing.frame_types import frame_types
from penguin_ros.simulation import world

SIZE = 168, 112


def changes(shown: Stream) -> list[float]:
    """The mean absolute difference of each image from the first."""
    first = shown.frames[0].image.astype(np.int16)
    return [float(np.abs(frame.image - first).mean()) for frame in shown.frames[1:]]


def check(static: Stream, changing: Stream) -> None:
    for shown in (static, changing):
        stamps = [frame.stamp_ns for frame in shown.frames]
        assert stamps == [index * 500_000_000 for index in range(12)]
        assert all(
            frame.image.shape == (112, 168, 3) and frame.image.dtype == np.uint8
            for frame in shown.frames
        )
    assert all(similarity(static.frames[0].image, frame.image) > 0.95 for frame in static.frames)
    assert len({frame.image.tobytes() for frame in static.frames}) == 12
    assert max(changes(changing)[8:]) > 4 * max(changes(static))  # the other scene, from 4 s on


def test_scenes_of_the_simulated_world_stand_or_change() -> None:
    try:
        check(stream(STATIC, 6, 2.0, SIZE), stream(CHANGING, 6, 2.0, SIZE))
    except BackendUnavailable as error:
        pytest.skip(str(error))
    assert stream(STATIC, 1, 2.0, SIZE).source.startswith(('simulated', 'drawn'))


def test_without_mujoco_scenes_are_drawn_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendUnavailable('MuJoCo cannot be loaded')

    monkeypatch.setattr(world, '_mujoco', missing)
    static, changing = stream(STATIC, 6, 2.0, SIZE), stream(CHANGING, 6, 2.0, SIZE)
    check(static, changing)
    assert 'MuJoCo cannot be loaded' in static.source


def test_a_video_is_shown_as_it_is_and_its_first_image_stands(video_path: Path) -> None:
    static, changing = (
        stream(STATIC, 6, 2.0, SIZE, str(video_path)),
        stream(CHANGING, 6, 2.0, SIZE, str(video_path)),
    )
    assert len(changing.frames) == len(static.frames) == 12
    assert max(changes(changing)) > 1.5 * max(changes(static))
    with pytest.raises(MediaError, match='too short'):
        stream(CHANGING, 600, 2.0, SIZE, str(video_path))


def test_clips_have_one_key_frame_and_go_on_with_other_images() -> None:
    base = clip_images(8, SIZE)
    for number in range(1, 8):
        more = further_images(number, number, SIZE)
        assert [kind.name for kind in frame_types([*base[: 8 - number], *more])] == ['KEY'] + [
            'INTERMEDIATE'
        ] * 7
    images = [
        *base,
        *(image for number in range(8, 16) for image in further_images(number, 2, SIZE)),
    ]
    assert len({image.tobytes() for image in images}) == len(images)


def test_a_film_holds_the_images_in_order(tmp_path: Path) -> None:
    images = [np.full((112, 168, 3), 20 * index, np.uint8) for index in range(10)]
    film = VideoRecording(write_video(tmp_path / 'film.mp4', images, 15.0))
    shown = [float(image.mean()) for _, image in film.frames()]
    assert len(shown) == 10 and np.allclose(shown, [20 * index for index in range(10)], atol=6)
    assert scenes.SCENE_S > 0
