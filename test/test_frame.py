# SPDX-License-Identifier: Apache-2.0
"""A frame's digest stands for its pixels and their shape, and for nothing else."""

from __future__ import annotations

import numpy as np

from penguin_ros.frame import Frame


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_equal_pixels_have_equal_digests_whatever_their_stamp_and_camera() -> None:
    assert Frame(1, noise(1, 8, 8), 'left').digest == Frame(2, noise(1, 8, 8), 'right').digest
    assert len(Frame(1, noise(1, 8, 8)).digest) == 16


def test_one_other_value_gives_another_digest() -> None:
    changed = noise(1, 8, 8)
    changed[7, 7, 2] ^= 1
    assert Frame(1, changed).digest != Frame(1, noise(1, 8, 8)).digest


def test_the_same_bytes_in_another_shape_have_another_digest() -> None:
    image = noise(1, 4, 8)
    assert Frame(1, image).digest != Frame(1, image.reshape(8, 4, 3)).digest


def test_a_view_has_the_digest_of_its_copy() -> None:
    image = noise(1, 8, 8)
    assert Frame(1, image[::2, ::-1]).digest == Frame(1, image[::2, ::-1].copy()).digest


def test_the_digest_is_computed_once() -> None:
    frame = Frame(1, noise(1, 8, 8))
    first = frame.digest
    frame.image[:] = 0  # nobody may do that; it shows that the pixels are not read again
    assert frame.digest is first
