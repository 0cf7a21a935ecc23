# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""What the encoder has before and after its layers."""

import triton
import triton.language as tl

ROWS = tl.constexpr(1)


@triton.jit
def levels_to_rows(
    levels, table, y,
    VALUES: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Row i of y becomes the normalised numbers of patch i: table[channel, level], then zeros.
    VALUES are the levels of a patch, channel by channel.
    """
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    is_there = columns < VALUES
    level = tl.load(levels + row * VALUES + columns, is_there, 0).to(tl.int32)
    value = tl.load(table + (columns // (VALUES // 3)) * 256 + level, is_there, 0.0)
    tl.store(y + row * WIDTH + columns, value.to(y.dtype.element_ty), columns < WIDTH)


@triton.jit
def numbers_to_rows(numbers, y, VALUES: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """It does the same as `levels_to_rows` with numbers that are normalised already."""
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    value = tl.load(numbers + row * VALUES + columns, columns < VALUES, 0.0)
    tl.store(y + row * WIDTH + columns, value.to(y.dtype.element_ty), columns < WIDTH)


@triton.jit
def merge_rows(
    x, gain, shares, y, merged,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Row i of y becomes the mean, weighted by `shares`, of rms_norm(x) * gain of `merged` rows in
    turn.
    """
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    is_there = columns < WIDTH
    mean = tl.zeros((COLUMNS,), tl.float32)
    for part in range(merged):
        place = x + (row * merged + part) * WIDTH + columns
        value = tl.load(place, is_there, 0.0)
        factor = tl.rsqrt(tl.sum(value * value, 0) / SIZE + EPS)
        mean += value * (factor * tl.load(shares + part))
    mean *= tl.load(gain + columns, is_there, 0.0)
    tl.store(y + row * WIDTH + columns, mean.to(y.dtype.element_ty), is_there)
