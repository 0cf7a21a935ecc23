# SPDX-License-Identifier: Apache-2.0
"""The angular frequencies of rotary positions. Knows neither tables nor grids."""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def inverse_frequencies(head_dim: int, theta: float) -> NDArray[np.float32]:
    """(head_dim / 2,) radians per position, in float32 from the start as PyTorch computes them: at large positions the
    rounding of the angle is what the model was trained with."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies: NDArray[np.float32] = np.float32(1.0) / np.float32(theta) ** exponents
    return frequencies
