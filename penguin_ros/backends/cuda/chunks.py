# SPDX-License-Identifier: Apache-2.0
"""Cuts a chunk into runs that fit an engine's profiles. Only positions are known here, no
tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureRows:
    """Rows of visual features that stand at `offset` of a chunk: `count` rows of `row_bytes` each,
    in device memory from `address` on.
    """

    offset: int
    address: int
    count: int
    row_bytes: int

    def within(self, start: int, end: int) -> FeatureRows | None:
        """Returns the part that stands at start .. end, counted from `start`; None when nothing
        does.
        """
        low, high = max(self.offset, start), min(self.offset + self.count, end)
        if low >= high:
            return None
        return FeatureRows(
            low - start,
            self.address + (low - self.offset) * self.row_bytes,
            high - low,
            self.row_bytes,
        )


@dataclass(frozen=True)
class EngineRun:
    """The positions start .. end of a chunk, and those of them whose logits are wanted."""

    start: int
    end: int
    wanted: tuple[int, ...]


def engine_runs(
    num_tokens: int, wanted: Sequence[int], max_tokens: int, max_wanted: int
) -> Iterator[EngineRun]:
    """Cuts `num_tokens` positions into runs of at most `max_tokens`, with at most `max_wanted` of
    the positions `wanted`, which ascend.
    """
    start, left = 0, list(wanted)
    while start < num_tokens:
        end = min(num_tokens, start + max_tokens)
        if len(left) > max_wanted:
            end = min(end, left[max_wanted])
        inside = tuple(index for index in left if index < end)
        left = left[len(inside) :]
        yield EngineRun(start, end, inside)
        start = end
