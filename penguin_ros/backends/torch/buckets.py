# SPDX-License-Identifier: Apache-2.0
"""Numbers of rows and lengths of attention that passes are rounded up to, so that few differ.

Rows above the true ones cost little up to 16, and are few in a long chunk. A longer cache costs
more to read, so its steps grow with it and stay within a third of it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

MOST_DECODE_ROWS = 16
"""A pass over so many positions of text, or fewer, is a step of decoding or verifies a draft."""

ROWS = (1, MOST_DECODE_ROWS, 64, 128, 256, 512, 1024)
MAX_ROWS = ROWS[-1]
"""A longer chunk runs in parts."""

_ALIGNMENT = 16


@dataclass(frozen=True)
class LengthBuckets:
    """Buckets from `smallest` positions, a power of two, up to one that holds `max_length`."""

    max_length: int
    smallest: int = 256

    def of(self, length: int) -> int:
        """Returns the bucket for `length` positions: multiples of `smallest` up to four of them,
        from there on two to a doubling.
        """
        step = self.smallest
        while length > 4 * self.smallest and length > 4 * step:
            step *= 2
        return min(-(-length // step) * step, self.ceiling)

    @property
    def ceiling(self) -> int:
        """The largest bucket."""
        return -(-self.max_length // _ALIGNMENT) * _ALIGNMENT


def row_bucket(rows: int) -> int:
    """Returns the number of rows that a pass over `rows`, at most MAX_ROWS, is rounded up to."""
    return ROWS[bisect_left(ROWS, rows)]
