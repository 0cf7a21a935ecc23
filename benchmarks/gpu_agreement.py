# SPDX-License-Identifier: Apache-2.0
"""Whether two open backends of one checkpoint agree: the same random schedule of appends, truncates
and forks on both, logits compared at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk

EDGES = (1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33)
"""Rows of a pass around which ways change."""


@dataclass
class Agreement:
    """What a schedule found: the largest difference of logits relative to the norm of their row,
    the largest of a single logit relative to the largest of its row, and as it is; the steps whose
    most probable token differs although its margin is larger than `margin`, and all steps.
    """

    margin: float
    largest: float = 0.0
    largest_logit: float = 0.0
    largest_absolute: float = 0.0
    disagreeing: int = 0
    steps: int = 0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Compares the logits (rows, vocabulary_size) of one pass."""
        for row, other in zip(ours, theirs, strict=True):
            norm = float(np.linalg.norm(other)) or 1.0
            self.largest = max(self.largest, float(np.linalg.norm(row - other)) / norm)
            absolute = float(np.abs(row - other).max())
            self.largest_absolute = max(self.largest_absolute, absolute)
            size = float(np.abs(other).max()) or 1.0
            self.largest_logit = max(self.largest_logit, absolute / size)
            best = np.sort(other)[-2:]
            if row.argmax() != other.argmax() and best[1] - best[0] > self.margin:
                self.disagreeing += 1
            self.steps += 1


def compared(one: Backend, other: Backend, steps: int, margin: float, seed: int = 0) -> Agreement:
    """Runs one random schedule on both."""
    found, random = Agreement(margin), np.random.default_rng(seed)
    slots = [one.new_slot(), other.new_slot()]
    try:
        for kind, ids in _schedule(one, random, steps):
            if kind < 0:
                length = int(one.slot_length(slots[0]) * -kind)
                for backend, slot in zip((one, other), slots, strict=True):
                    backend.truncate(slot, length)
                continue
            chunk = Chunk(ids)
            wanted = sorted({0, len(ids) // 2, len(ids) - 1})
            ours, theirs = (
                backend.forward(slot, chunk, wanted)
                for backend, slot in zip((one, other), slots, strict=True)
            )
            found.add(ours, theirs)
    finally:
        for backend, slot in zip((one, other), slots, strict=True):
            backend.free_slot(slot)
    return found


def _schedule(
    backend: Backend, random: np.random.Generator, steps: int
) -> Iterator[tuple[float, np.ndarray]]:
    """Yields token ids to append (kind 1), or the share of the slot to keep as a negative kind."""
    room = min(backend.description.max_length, 2048)
    length = 0
    for _ in range(steps):
        rows = int(random.choice(EDGES)) if random.random() < 0.3 else 1
        if random.random() < 0.02:
            rows = int(random.integers(64, 300))
        if length + rows > room or random.random() < 0.02:
            share = float(random.uniform(0.05, 0.9))
            yield -share, np.empty(0, np.int64)
            length = int(length * share)
        if length + rows <= room:
            yield 1.0, random.integers(0, backend.description.vocabulary_size, rows)
            length += rows
