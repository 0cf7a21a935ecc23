# SPDX-License-Identifier: Apache-2.0
"""The stored input of benchmarks: a question, and a clip that is made in code and has the same
numbers on every machine.
"""

from __future__ import annotations

import numpy as np

from penguin_ros.frame import NANOSECONDS, Clip, Frame, Image

FRAMES, WIDTH, HEIGHT = 8, 640, 360
FRAMES_PER_SECOND = 2
QUESTION = 'What is moving, and which way?'

SQUARE, COLOUR = 50, (220, 40, 40)
"""The size in pixels and the red of the thing that moves."""


def stored_images(count: int = FRAMES) -> list[Image]:
    """Images (HEIGHT, WIDTH, 3) of a still scene of coarse texture, seen by a camera that stands,
    in which a small thing moves to the right. Of the first eight frames only the first is a key
    frame.
    """
    random = np.random.default_rng(0)
    scene = np.kron(
        random.integers(40, 216, (HEIGHT // 8, WIDTH // 8, 3)), np.ones((8, 8, 1))
    ).astype(np.uint8)
    images = []
    for index in range(count):
        image = scene.copy()
        left = (40 + 60 * index) % (WIDTH - SQUARE)
        image[150 : 150 + SQUARE, left : left + SQUARE] = COLOUR
        images.append(image)
    return images


def stored_clip(count: int = FRAMES) -> Clip:
    """The images as frames of a camera at FRAMES_PER_SECOND."""
    step = NANOSECONDS // FRAMES_PER_SECOND
    return Clip(
        'camera',
        tuple(
            Frame(index * step, image, 'camera') for index, image in enumerate(stored_images(count))
        ),
    )
