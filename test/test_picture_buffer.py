# SPDX-License-Identifier: Apache-2.0
"""Pictures are found by the stamps of frames and never take more memory than allowed."""

from __future__ import annotations

import random

import cv2
import numpy as np

from penguin_ros.frame import NANOSECONDS
from penguin_ros.picture_buffer import Picture, PictureBuffer, jpeg_picture


def test_a_picture_keeps_its_proportions_and_colours_within_its_size() -> None:
    image = np.zeros((200, 400, 3), np.uint8)
    image[..., 0] = 250
    picture = jpeg_picture(7, image, 100, 90)
    decoded = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.stamp_ns == 7
    assert decoded.shape == (50, 100, 3)
    assert decoded[..., 2].min() > 240
    assert decoded[..., 0].max() < 15  # OpenCV has blue first
    small = jpeg_picture(7, image[:10, :10], 100, 90)
    assert cv2.imdecode(np.frombuffer(small.jpeg, np.uint8), 1).shape == (10, 10, 3)


def test_the_first_stamp_with_a_picture_of_its_own_comes_before_a_nearer_one() -> None:
    buffer = PictureBuffer(60, 10**6)
    for stamp in (1000, 2000, 3000):
        buffer.add(Picture(stamp, str(stamp).encode()))
    assert buffer.nearest([3001, 2000, 1000], 500).stamp_ns == 2000  # type: ignore[union-attr]
    assert buffer.nearest([3400, 1700], 500).stamp_ns == 2000  # type: ignore[union-attr]
    assert buffer.nearest([3600], 500) is None
    assert buffer.nearest([], 500) is None


def test_whatever_comes_the_bounds_hold_and_what_is_kept_is_the_newest() -> None:
    chance = random.Random(3)
    buffer = PictureBuffer(5, 3000)
    for _ in range(3000):
        stamp = chance.randrange(100) * NANOSECONDS // 4
        buffer.add(Picture(stamp, bytes(chance.randrange(1, 400))))
        count, size = buffer.size
        assert size <= 3000
        assert size == sum(len(each.jpeg) for each in buffer._pictures.values())
        assert count == len(buffer._stamps) == len(buffer._pictures)
        assert buffer._stamps[-1] - buffer._stamps[0] <= 5 * NANOSECONDS
    buffer.clear()
    assert buffer.size == (0, 0)


def test_a_time_that_starts_again_begins_anew() -> None:
    buffer = PictureBuffer(5, 3000)
    buffer.add(Picture(100 * NANOSECONDS, b'old'))
    buffer.add(Picture(NANOSECONDS, b'new'))
    assert buffer.size == (1, 3)
