# SPDX-License-Identifier: Apache-2.0
"""What a loader must know of a kernel, as values that go into a bundle as JSON: its arguments, the
numbers it was compiled with, and how many programs a launch starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Constant = int | float | bool | str

ITEM_BYTES = {'fp32': 4, 'fp16': 2, 'bf16': 2, 'i64': 8, 'i32': 4, 'u8': 1, 'i8': 1}
"""Bytes of the types that arguments have or point to."""

HIDDEN_POINTERS = 2
"""A compiled kernel takes so many pointers more, after all others: working memory that these
kernels do not use. Zeros are given for them.
"""

TARGETS = {80: 85, 87: 85, 90: 85, 110: 90, 120: 90}
"""The compute capabilities for which kernels are compiled, ten times each, and the PTX version that
is written for it, ten times as well: the driver of JetPack 6 (CUDA 12.6) takes 8.5. PTX for 80 is
what any card since runs when nothing fits it better; that for 90 and later runs on them alone.
"""


@dataclass(frozen=True)
class Argument:
    """An argument of a launch: `kind` is one of ITEM_BYTES, with a star before it for a pointer.
    `is_aligned`: the address, or the number, must be a multiple of 16.
    """

    name: str
    kind: str
    is_aligned: bool = True

    @property
    def is_pointer(self) -> bool:
        """Whether an address is given."""
        return self.kind.startswith('*')


def pointers(**kinds: str) -> tuple[Argument, ...]:
    """Returns arguments that are addresses, by their names and what they point to."""
    return tuple(Argument(name, '*' + kind) for name, kind in kinds.items())


def column_count(width: int) -> int:
    """Returns the next power of two: how many columns a kernel counts with."""
    return 1 << (width - 1).bit_length()


@dataclass(frozen=True)
class Grid:
    """How many programs start along each axis. With `rows_per_program` the first axis has one for
    each so many rows of the pass, begun ones included, times `x`.
    """

    x: int
    y: int = 1
    z: int = 1
    rows_per_program: int = 0

    def programs(self, rows: int = 1) -> tuple[int, int, int]:
        """Returns the grid of a launch over `rows` rows."""
        count = -(-rows // self.rows_per_program) if self.rows_per_program else 1
        return self.x * count, self.y, self.z


@dataclass(frozen=True)
class Kernel:
    """A kernel for one shape. `name` is its name in a set of kernels; `source` is file and function
    in `penguin_ros/kernels/sources`; `constants` are its arguments in capitals. A program is run by
    `warps` x 32 threads; `stages` is how many steps of its loop are loaded ahead.
    """

    name: str
    source: str
    arguments: tuple[Argument, ...]
    constants: Mapping[str, Constant]
    grid: Grid
    warps: int = 4
    stages: int = 1

    def as_json(self) -> dict[str, Any]:
        """Returns what `kernel_of` reads."""
        return asdict(self)


def kernel_of(values: Mapping[str, Any]) -> Kernel:
    """Reads a kernel from JSON."""
    rest = dict(values)
    arguments = tuple(Argument(**argument) for argument in rest.pop('arguments'))
    return Kernel(arguments=arguments, grid=Grid(**rest.pop('grid')), **rest)


@dataclass(frozen=True)
class Compiled:
    """A kernel for one target: its PTX as text, its machine code, and what the compiler said of it.
    `symbol` is its name in both. `shared_bytes` of shared memory are given at a launch; above 48
    KiB the function must be allowed to take them first. `spilled_bytes`: stored and loaded because
    registers did not suffice.
    """

    kernel: Kernel
    target: int
    ptx_version: int
    symbol: str
    ptx: str
    cubin: bytes
    shared_bytes: int
    registers: int
    spilled_bytes: int
    stack_bytes: int
    compiler: str = ''
    warnings: tuple[str, ...] = field(default=())
