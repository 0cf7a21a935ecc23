# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""From token ids to rows, and from rows to token ids. What a pass is about lies in device memory,
in `state`; see `penguin_ros/kernels/state.py`.
"""

import triton
import triton.language as tl

from penguin_ros.kernels.sources.one_row import dot

POSITION = tl.constexpr(0)
ROWS = tl.constexpr(1)
STEP_NUMBER = tl.constexpr(3)


@triton.jit
def gather(
    tokens, table, features, x,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, VOCABULARY: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Row i of x becomes row tokens[i] of the table, or row -1 - tokens[i] of the features where
    that is negative; what fills it up becomes 0.
    """
    row = tl.program_id(0)
    token = tl.load(tokens + row)
    columns = tl.arange(0, COLUMNS)
    is_there = columns < SIZE
    if token < 0:
        value = tl.load(features + (-1 - token).to(tl.int64) * WIDTH + columns, is_there, 0.0)
        value = value.to(tl.float32)
    else:
        known = tl.minimum(token, VOCABULARY - 1).to(tl.int64)
        value = tl.load(table + known * WIDTH + columns, is_there, 0.0).to(tl.float32)
    tl.store(x + row * WIDTH + columns, value, columns < WIDTH)


@triton.jit
def pick(x, wanted, y, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """Row i of y becomes row wanted[i] of x."""
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    source = tl.load(wanted + row).to(tl.int64)
    value = tl.load(x + source * WIDTH + columns, columns < WIDTH, 0.0)
    tl.store(y + row * WIDTH + columns, value, columns < WIDTH)


@triton.jit
def head(
    x, gain, weights, scales, logits, best, winners, checks,
    K: tl.constexpr, SIZE: tl.constexpr, EPS: tl.constexpr, BITS: tl.constexpr,
    BLOCK: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr, VOCABULARY: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    """logits = weights @ (rms_norm(x) * gain); by program the largest, the token that has it, and
    0, or NaN where one of its logits is not finite.
    """
    program = tl.program_id(0)
    largest = float('-inf')
    winner = 0
    check = 0.0
    for tile in range(TILES):
        outputs = (program * TILES + tile) * OUTPUTS + tl.arange(0, OUTPUTS)
        held = tl.minimum(outputs, VOCABULARY - 1)
        total, squares = dot(
            x, gain, weights, scales, held, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN=True
        )
        total *= tl.rsqrt(squares / SIZE + EPS)
        is_token = outputs < VOCABULARY
        tl.store(logits + outputs, total, is_token)
        check += tl.sum(tl.where(is_token, total * 0.0, 0.0), 0)
        total = tl.where(is_token, total, float('-inf'))
        high = tl.max(total, 0)
        first = tl.min(tl.where(total == high, outputs, 2147483647), 0)
        winner = tl.where(high > largest, first, winner)
        largest = tl.maximum(high, largest)
    tl.store(best + program, largest)
    tl.store(winners + program, winner)
    tl.store(checks + program, check)


@triton.jit
def choose(
    state, best, winners, checks, tokens, chosen, chosen_logits,
    COUNT: tl.constexpr, COLUMNS: tl.constexpr, ADVANCES: tl.constexpr,
):  # fmt: skip
    """Chooses among COUNT winners a row: the token with the largest logit, the first where several
    have it, and that logit, or NaN where any is not finite. ADVANCES: the token is the next one of
    the only row, and goes to the place of this step among the chosen; then position and step are
    one further.
    """
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    largest = tl.full((COLUMNS,), float('-inf'), tl.float32)
    winner = tl.full((COLUMNS,), 2147483647, tl.int32)
    check = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, COUNT, COLUMNS):
        at = first + columns
        value = tl.load(best + row * COUNT + at, at < COUNT, float('-inf'))
        token = tl.load(winners + row * COUNT + at, at < COUNT, 2147483647)
        check += tl.load(checks + row * COUNT + at, at < COUNT, 0.0)
        winner = tl.where(value > largest, token, winner)
        largest = tl.maximum(value, largest)
    high = tl.max(largest, 0)
    token = tl.min(tl.where(largest == high, winner, 2147483647), 0)
    logit = high + tl.sum(check, 0)
    if ADVANCES:
        step = tl.load(state + STEP_NUMBER)
        tl.store(chosen + step, token)
        tl.store(chosen_logits + step, logit)
        tl.store(tokens, token)
        tl.store(state + POSITION, tl.load(state + POSITION) + 1)
        tl.store(state + STEP_NUMBER, step + 1)
    else:
        tl.store(chosen + row, token)
        tl.store(chosen_logits + row, logit)
