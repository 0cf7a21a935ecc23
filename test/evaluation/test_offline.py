# SPDX-License-Identifier: Apache-2.0
"""Recordings are cut into clips."""

from __future__ import annotations

import numpy as np

from penguin_ros.evaluation.offline import cut_clips
from penguin_ros.frame import Frame

SECOND = 1_000_000_000
IMAGE = np.zeros((28, 28, 3), np.uint8)


def times(found: list[tuple[int, list[Frame]]]) -> list[list[float]]:
    return [[(frame.stamp_ns - origin) / SECOND for frame in clip] for origin, clip in found]


def test_a_recording_is_cut_into_consecutive_clips() -> None:
    frames = [(5 * SECOND + index * SECOND // 2, IMAGE) for index in range(9)]
    found = list(cut_clips(frames, 2.0, 0.0, float('inf')))
    assert times(found) == [[0.0, 0.5, 1.0, 1.5], [2.0, 2.5, 3.0, 3.5], [4.0]]


def test_start_and_end_limit_what_is_described() -> None:
    frames = [(index * SECOND, IMAGE) for index in range(10)]
    assert times(list(cut_clips(frames, 2.0, 3.0, 7.0))) == [[3.0, 4.0], [5.0, 6.0]]


def test_a_change_of_size_cuts_the_clip() -> None:
    wide = np.zeros((28, 56, 3), np.uint8)
    frames = [(0, IMAGE), (SECOND // 4, wide), (SECOND // 2, wide)]
    assert times(list(cut_clips(frames, 2.0, 0.0, float('inf')))) == [[0.0], [0.25, 0.5]]


def test_no_frames_give_no_clips() -> None:
    assert list(cut_clips([], 2.0, 0.0, float('inf'))) == []
