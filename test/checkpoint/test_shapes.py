# SPDX-License-Identifier: Apache-2.0
"""The frequencies of rotary positions."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.checkpoint.shapes import inverse_frequencies


@pytest.mark.parametrize('head_dim, theta', [(2, 10000.0), (24, 1e6), (128, 1e6)])
def test_frequencies_fall_from_one_by_equal_factors(head_dim: int, theta: float) -> None:
    expected = [theta ** (-2 * index / head_dim) for index in range(head_dim // 2)]
    frequencies = inverse_frequencies(head_dim, theta)
    assert frequencies.dtype == np.float32
    assert np.allclose(frequencies, expected, rtol=1e-6)


def test_they_are_rounded_where_pytorch_rounds() -> None:
    """The values are those of a trained model's head: a difference in the last bit grows with the
    position.
    """
    torch = pytest.importorskip('torch', reason='torch is not installed')
    expected = 1.0 / 1e6 ** (torch.arange(0, 128, 2, dtype=torch.float32) / 128)
    assert np.abs(inverse_frequencies(128, 1e6) / expected.numpy() - 1).max() < 1.3e-7
