# SPDX-License-Identifier: Apache-2.0
"""The float resize against PyTorch's own, in both directions and at the borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.preprocessing.antialias import PANEL, TILE, Plane, resize_plane

SIDE = st.integers(1, 300)


def _by_torch(plane: Plane, size: tuple[int, int]) -> Plane:
    torch = pytest.importorskip('torch')
    tensor = torch.from_numpy(plane)[None, None]
    return np.asarray(
        torch.nn.functional.interpolate(tensor, size, mode='bilinear', antialias=True)[0, 0]
    )


def _plane(height: int, width: int, seed: int = 0) -> Plane:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)


@pytest.mark.parametrize(
    ('raw', 'size'),
    [
        ((480, 640), (476, 644)),
        ((720, 1280), (714, 1274)),
        ((1080, 1920), (1050, 1876)),
        ((342, 608), (336, 602)),
        ((224, 400), (224, 406)),
        ((1200, 1600), (210, 280)),
        ((37, 61), (42, 56)),
        ((1, 1), (56, 56)),
        ((1, 4000), (14, 4004)),
        ((PANEL, PANEL), (TILE, TILE)),
        ((PANEL - 1, PANEL + 1), (TILE + 1, TILE - 1)),
    ],
)
def test_equals_the_resize_of_pytorch(raw: tuple[int, int], size: tuple[int, int]) -> None:
    plane = _plane(*raw)
    resized, expected = resize_plane(plane, size), _by_torch(plane, size)
    assert resized.shape == size and resized.dtype == np.float32
    assert np.abs(resized - expected).max() <= 1e-4
    # The last bit may depend on the machine; what is compared later is truncated, and must hardly
    # ever differ.
    assert (resized.astype(np.uint8) != expected.astype(np.uint8)).mean() <= 0.01


@settings(deadline=None, max_examples=100)
@given(SIDE, SIDE, SIDE, SIDE.filter(lambda columns: columns > 1), st.integers(0, 2**32 - 1))
def test_equals_the_resize_of_pytorch_for_any_size(
    height: int, width: int, rows: int, columns: int, seed: int
) -> None:
    # PyTorch 2.13 repeats one row down a result of one column; compared frames have 14 columns at
    # least.
    plane = _plane(height, width, seed)
    ours, theirs = resize_plane(plane, (rows, columns)), _by_torch(plane, (rows, columns))
    # 20 steps of float32 at 128 to 255: processors add up to 500 values in other orders.
    assert np.abs(ours - theirs).max() <= 3e-4


def test_keeps_a_plane_that_has_the_size_already() -> None:
    plane = _plane(50, 70)
    assert np.array_equal(resize_plane(plane, (50, 70)), plane)


def test_keeps_the_brightness_of_an_even_plane() -> None:
    for size in ((14, 300), (300, 14), (123, 77)):
        assert np.abs(resize_plane(np.full((100, 100), 200, np.float32), size) - 200).max() <= 1e-3
