# SPDX-License-Identifier: Apache-2.0
"""Frames for tests of windows: images that are similar, or not, at stamps of choice."""

from __future__ import annotations

import numpy as np

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import Frame, Image
from penguin_ros.preprocessing.frame_plan import PatchUnit
from penguin_ros.settings import with_values
from penguin_ros.window.camera_window import CameraWindow, ChosenClip
from penguin_ros.window.window_rules import WindowRules

MS = 1_000_000
SECOND = 1000 * MS
UNIT = PatchUnit(2, 14)


def image(scene: int = 0, size: tuple[int, int] = (56, 84), noise: int = 0) -> Image:
    """Images of one scene are similar whatever their noise, but not the same; those of two scenes
    are not similar.
    """
    random = np.random.default_rng(scene)
    pixels = 240 * random.integers(0, 2, (*size, 1)).repeat(3, 2)
    return (pixels + np.random.default_rng(noise).integers(0, 8, (*size, 1))).astype(np.uint8)


def frame(
    ms: int, scene: int = 0, size: tuple[int, int] = (56, 84), camera: str = 'front'
) -> Frame:
    return Frame(ms * MS, image(scene, size, noise=ms), camera, f'{camera}_optical')


def rules(**values: object) -> WindowRules:
    """`clip__fps=2.0` sets clip.fps; by default two frames a second and at most eight."""
    settings = {
        'clip.window': 'growing',
        'clip.fps': 2.0,
        'clip.max_frames': 8,
        'clip.overlap': 2,
        'visual.max_visual_tokens': 512,
        **{name.replace('__', '.'): value for name, value in values.items()},
    }
    return WindowRules(with_values(PenguinConfig(), settings), UNIT)


def taken(window: CameraWindow, by: WindowRules) -> ChosenClip | None:
    """The clip after all that waits was taken."""
    for _ in window.take(by):
        pass
    return window.clip(by)


def offsets(clip: ChosenClip | None) -> list[int]:
    """Stamps of a clip's frames in milliseconds."""
    assert clip is not None
    return [frame.stamp_ns // MS for frame in clip.clip.frames]
