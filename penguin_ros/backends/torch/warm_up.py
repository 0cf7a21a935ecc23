# SPDX-License-Identifier: Apache-2.0
"""How much a device takes in one step, measured when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.errors import OutOfMemory
from penguin_ros.model_inputs import FramePatches

STEP_NS = 20_000_000
"""A question waits for the step that runs; so long at most."""

PREFILL_ROWS = (1024, 512, 256)
ENCODE_PATCHES = (4096, 2304, 1024, 256)
"""Sizes that are tried, the largest first; those of patches are squares of even numbers."""

_RUNS_BEFORE = 2  # the first sets libraries up, the second is recorded


@dataclass(frozen=True)
class StepSizes:
    """Positions of a prefill chunk, and patches of a slice of an encode."""

    prefill_chunk: int
    encode_patches: int


class Measured(Protocol):
    """What is measured: a session whose slots are empty."""

    def append_greedy(self, append: Append, features: Sequence[Any]) -> Any:
        """Appends a chunk, and returns when that is done."""

    def encode_frame(self, frame: FramePatches) -> Generator[None, None, Any]:
        """Encodes a frame."""

    def wait(self) -> None:
        """Returns when all that was asked of the device is done."""


def measured_sizes(
    session: Measured, max_length: int, patch_values: int, clock_ns: Callable[[], int]
) -> StepSizes:
    """Returns the largest sizes that `session` takes at most STEP_NS for."""

    def prefill(rows: int) -> None:
        session.append_greedy(Append(0, 0, Chunk(np.zeros(rows, np.int64)), [rows - 1]), ())

    def encode(patches: int) -> None:
        side = round(patches**0.5)
        pixels = np.zeros((patches, patch_values), np.float32)
        for _ in session.encode_frame(FramePatches(pixels, side, side, 2)):
            pass
        session.wait()

    rows = [size for size in PREFILL_ROWS if size <= max_length] or [PREFILL_ROWS[-1]]
    return StepSizes(
        largest_within_a_step(rows, prefill, clock_ns),
        largest_within_a_step(ENCODE_PATCHES, encode, clock_ns),
    )


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
