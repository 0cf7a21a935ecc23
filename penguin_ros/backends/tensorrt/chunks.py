# SPDX-License-Identifier: Apache-2.0
"""Cuts a chunk into runs that fit an engine's profiles. Knows positions, no tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rows:
    """Rows of visual features that stand at `offset` of a chunk: `count` of them in device memory
    from `address` on, each of `row_bytes`.
    """

    offset: int
    address: int
    count: int
    row_bytes: int

    def within(self, start: int, end: int) -> Rows | None:
        """What of them stands at start .. end, counted from `start`; None when nothing does."""
        low, high = max(self.offset, start), min(self.offset + self.count, end)
        if low >= high:
            return None
        return Rows(
            low - start,
            self.address + (low - self.offset) * self.row_bytes,
            high - low,
            self.row_bytes,
        )


@dataclass(frozen=True)
class Run:
    """Positions start .. end of a chunk, and those of them whose logits are wanted."""

    start: int
    end: int
    wanted: tuple[int, ...]


def runs(count: int, wanted: Sequence[int], max_rows: int, max_wanted: int) -> Iterator[Run]:
    """Cuts `count` positions into runs of at most `max_rows` with at most `max_wanted` of the
    positions wanted (ascending).
    """
    start, left = 0, list(wanted)
    while start < count:
        end = min(count, start + max_rows)
        if len(left) > max_wanted:
            end = min(end, left[max_wanted])
        inside = tuple(index for index in left if index < end)
        left = left[len(inside) :]
        yield Run(start, end, inside)
        start = end
