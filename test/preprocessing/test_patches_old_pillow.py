# SPDX-License-Identifier: Apache-2.0
"""Images are resized to the same pixels with Pillow 9.0, which names its filters otherwise."""

from __future__ import annotations

import hashlib

import numpy as np
from support.old_pillow import run_with_old_pillow

from penguin_ros.preprocessing.patches import resized

RUN = """
import hashlib, numpy
from penguin_ros.preprocessing.patches import resized
image = numpy.random.default_rng(3).integers(0, 256, (61, 83, 3), numpy.uint8)
print(hashlib.sha256(resized(image, (28, 42)).tobytes()).hexdigest())
"""


def test_an_image_is_resized_to_the_same_pixels() -> None:
    image = np.random.default_rng(3).integers(0, 256, (61, 83, 3), np.uint8)
    expected = hashlib.sha256(resized(image, (28, 42)).tobytes()).hexdigest()
    assert run_with_old_pillow(RUN).split() == [expected]
