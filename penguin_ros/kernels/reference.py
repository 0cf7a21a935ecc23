# SPDX-License-Identifier: Apache-2.0
"""What each kernel computes, in numpy, as plainly as can be: names and arguments are those of the
kernels. Computed in the type of what is given, float64 for a yardstick.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """Returns x over the root of its mean square, times gain."""
    root = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps)
    return np.asarray(x / root * gain)


def norm_product(x: Array, gain: Array, weights: Array, eps: float) -> Array:
    """The kernel `norm_product`, with weights (outputs, inputs) as numbers."""
    return np.asarray(rms_norm(x, gain, eps) @ weights.T)
