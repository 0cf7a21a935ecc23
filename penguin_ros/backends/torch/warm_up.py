# SPDX-License-Identifier: Apache-2.0
"""How much a device takes in one step, measured when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penguin_ros.errors import OutOfMemory

STEP_NS = 20_000_000
"""A question waits for the step that runs; so long at most."""

PREFILL_ROWS = (1024, 512, 256)
ENCODE_PATCHES = (4096, 2304, 1024, 256)
"""Sizes that are tried, the largest first; those of patches are squares of even numbers."""

_RUNS_BEFORE = 2  # the first sets libraries up, the second is recorded


def largest_within_a_step(
    sizes: Sequence[int], run: Callable[[int], None], clock_ns: Callable[[], int]
) -> int:
    """Returns the first of `sizes`, which fall, that `run` takes at most STEP_NS for, the third
    time; the last one without a look. A size that does not fit into the memory is passed over.
    """
    for size in sizes[:-1]:
        try:
            for _ in range(_RUNS_BEFORE):
                run(size)
            start_ns = clock_ns()
            run(size)
            if clock_ns() - start_ns <= STEP_NS:
                return size
        except OutOfMemory:
            continue
    return sizes[-1]
