# SPDX-License-Identifier: Apache-2.0
"""Boards whose GPU shares the machine's memory, by size: what they have of it, and which sizes of a
model fit with room to spare.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3
SYSTEM_BYTES = int(0.6 * GIB)
"""What Jetson Linux takes without a desktop; one takes 0.7 GiB more. Reported by others."""

VISIBLE = 0.925
"""The share of the nominal memory that the kernel has: 7.4 of 8 GiB on an Orin Nano."""


@dataclass(frozen=True)
class BoardSizes:
    """The defaults of `penguin build --backend tensorrt` and of the KV slots: `slots` of
    `max_length` positions; `max_rows` of one prefill run, `max_patches` of a frame; the formats of
    linears (`precision`) and `head`, and the `head_parts` it is cut into.
    """

    slots: int
    max_length: int
    max_rows: int
    max_patches: int
    precision: str
    head: str
    head_parts: int


@dataclass(frozen=True)
class BoardClass:
    """Boards with `gigabytes` of memory by their name; `boards` are examples."""

    gigabytes: int
    boards: str
    sizes: BoardSizes

    @property
    def total_bytes(self) -> int:
        """What the kernel of such a board calls its memory."""
        return int(self.gigabytes * GIB * VISIBLE)

    @property
    def available_bytes(self) -> int:
        """What is available after booting without a desktop."""
        return self.total_bytes - SYSTEM_BYTES


CLASSES = (
    BoardClass(
        8, 'Orin Nano 8 GB, Orin NX 8 GB', BoardSizes(2, 2048, 256, 1536, 'int4', 'int4', 4)
    ),
    BoardClass(16, 'Orin NX 16 GB', BoardSizes(3, 4096, 512, 4096, 'int4', 'int4', 2)),
    BoardClass(32, 'AGX Orin 32 GB', BoardSizes(4, 4096, 512, 4096, 'int4', 'int4', 2)),
    BoardClass(64, 'AGX Orin 64 GB', BoardSizes(4, 8192, 512, 4096, 'int4', 'int4', 2)),
    BoardClass(128, 'AGX Thor 128 GB', BoardSizes(8, 8192, 512, 4096, 'int4', 'int4', 2)),
)
NOMINAL = tuple(board.gigabytes for board in CLASSES)

WITH_OWN_MEMORY = BoardSizes(4, 4096, 512, 4096, 'float16', '', 2)
"""The defaults for a GPU that has memory of its own."""


def class_named(gigabytes: int) -> BoardClass:
    """Returns the class of boards with these gigabytes by name; KeyError for one that is not in
    NOMINAL.
    """
    return {board.gigabytes: board for board in CLASSES}[gigabytes]


def class_of(total_bytes: int) -> BoardClass:
    """Returns the class of a board whose kernel counts `total_bytes` of memory: the largest that it
    fills to nine tenths, the smallest where it fills none.
    """
    filled = [board for board in CLASSES if total_bytes >= 0.9 * board.total_bytes]
    return filled[-1] if filled else CLASSES[0]
