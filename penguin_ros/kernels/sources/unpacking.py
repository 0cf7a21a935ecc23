# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""How narrow weights become numbers in registers.

A 32-bit word holds 32 / BITS weights of one output, each with half its range added to it; see
`penguin_ros/kernels/packing.py` for which. Masked where it lies, a weight is a float32 as it
stands: a subnormal one, u * 2 ** (place - 149), which NVIDIA's multipliers take at full speed and
without loss. The activation is multiplied by the power of two that makes up for the place, once for
all outputs of a program. So a weight costs one logic operation and one multiplication.
"""

import triton
import triton.language as tl

SHRUNK = tl.constexpr(2.0**-60)
"""All products come out smaller by this, so that no activation leaves the range of float32."""


@triton.jit
def number_of(words, T: tl.constexpr, BITS: tl.constexpr):
    """Weight T of each word, as float32 u * 2 ** (place - 149)."""
    if BITS == 8:
        if T < 2:
            bits = words & (255 << (8 * T))
        else:
            bits = (words >> 16) & (255 << (8 * (T - 2)))
    elif T < 5:
        bits = words & (15 << (4 * T))
    else:
        bits = (words >> 12) & (15 << (4 * (T - 3)))
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def raised(value, T: tl.constexpr, BITS: tl.constexpr):
    """Activations times what makes up for the place of weight T, and SHRUNK."""
    if BITS == 8:
        larger = value * 2.0 ** (89 - 8 * (T % 2))
    elif T < 5:
        larger = value * 2.0 ** (89 - 4 * T)
    else:
        larger = value * 2.0 ** (89 - 4 * (T - 3))
    return larger
