# SPDX-License-Identifier: Apache-2.0
"""The kernels of passes of several rows, for a network: drafts and branches of up to FEW, prefill,
and the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.kernels.network import Network, StackSizes
from penguin_ros.kernels.one_row_set import LAYER, PITCH, choose, combine_rows, weight_kinds
from penguin_ros.kernels.packing import INPUTS
from penguin_ros.kernels.table import (
    Argument,
    Constant,
    Grid,
    Kernel,
    column_count,
    pointers,
)

FEW = 16
"""Rows that one tile holds: a pass of 2 to as many reads all weights once."""

GATED_SHRUNK = 2.0**-5
"""What SwiGLU gives may be too large for float16; shrunk by this it is kept up to two millions, and
what it loses at the small end is far below what its large numbers lose by rounding.
"""

MANY = 64
"""Rows of a tile of prefill and of the encoder."""


@dataclass(frozen=True)
class Tile:
    """A tile of a product: `lines` rows by `outputs`, `warps`, and how many steps are loaded ahead.
    `gated` outputs where gate and up are made at once.
    """

    lines: int
    outputs: int
    gated: int
    warps: int
    stages: int


TILES = {FEW: Tile(16, 32, 32, 4, 4), MANY: Tile(64, 128, 128, 8, 2)}


@dataclass(frozen=True)
class Part:
    """The kernels of a stack for one size of tile; `name` is put before theirs."""

    name: str
    network: Network
    stack: StackSizes
    bits: int
    tile: Tile

    @property
    def kept(self) -> str:
        """The format of keys and values, which the encoder keeps for one frame only."""
        formats = self.network.formats
        return formats.compute if self.stack is self.network.encoder else formats.kept

    def product(self, name: str, sizes: tuple[int, int], y: str, **given: Constant) -> Kernel:
        """Returns a product of `sizes` = (inputs, outputs) whose result is of the type `y`."""
        inputs, outputs = sizes
        constants: dict[str, Constant] = {
            'K': inputs,
            'N': outputs,
            **self._tile(self.tile.outputs),
            'HAS_BIAS': False,
            'HAS_GELU': False,
            'ADDS': False,
            'FACTOR': 1.0,
            **given,
        }
        compute = self.network.formats.compute
        kinds = weight_kinds(self.network, self.bits)
        arguments = pointers(state='i64', x=compute, **kinds, bias='fp32', y=y)
        grid = Grid(1, outputs // self.tile.outputs, rows_per_program=self.tile.lines)
        return self._kernel(name, 'rows.product_rows', arguments, constants, grid)

    def gated(self) -> Kernel:
        """Returns SwiGLU."""
        stack, compute = self.stack, self.network.formats.compute
        constants = {
            'K': stack.hidden,
            'FFN': stack.ffn,
            **self._tile(self.tile.gated),
            'SHRUNK': GATED_SHRUNK,
        }
        kinds = weight_kinds(self.network, self.bits)
        arguments = pointers(state='i64', x=compute, **kinds, y=compute)
        grid = Grid(1, stack.ffn // self.tile.gated, rows_per_program=self.tile.lines)
        return self._kernel('gated', 'rows.gated_rows', arguments, constants, grid)

    def norm(self) -> Kernel:
        """Returns the norm of rows."""
        stack = self.stack
        constants: dict[str, Constant] = {
            'SIZE': stack.size,
            'WIDTH': stack.hidden,
            'COLUMNS': column_count(stack.hidden),
            'EPS': stack.norm_eps,
        }
        arguments = pointers(x='fp32', gain='fp32', y=self.network.formats.compute)
        grid = Grid(1, rows_per_program=1)
        return Kernel(f'{self.name}.norm', 'rows.norm_rows', arguments, constants, grid)

    def turn(self, is_grid: bool) -> Kernel:
        """Returns what norms and turns heads, and writes to the cache."""
        stack, compute = self.stack, self.network.formats.compute
        arguments = pointers(
            state='i64',
            qkv='fp32',
            q_gain='fp32',
            k_gain='fp32',
            table='fp32',
            angles='i32',
            queries=compute,
            cache=self.kept,
            kv_scales='fp32',
        )
        constants: dict[str, Constant] = {
            **self._heads(),
            'EPS': stack.norm_eps,
            'QKV': stack.qkv,
            'WIDTH': stack.width,
            'LINES': column_count(stack.heads + 2 * stack.kv_heads),
            'IS_GRID': is_grid,
        }
        grid = Grid(1, rows_per_program=1)
        return Kernel(
            f'{self.name}.turn',
            'attention.turn_rows',
            (*arguments, LAYER, PITCH),
            constants,
            grid,
        )

    def attend(self, name: str, sight: str, lines: int, splits: int) -> Kernel:
        """Returns attention of `lines` queries at a time."""
        stack, compute = self.stack, self.network.formats.compute
        arguments = pointers(
            state='i64',
            queries=compute,
            cache=self.kept,
            kv_scales='fp32',
            mask='i32',
            mixed=compute,
            parts='fp32',
            sums='fp32',
        )
        constants: dict[str, Constant] = {
            **self._heads(),
            'WIDTH': stack.width,
            'LINES': lines,
            'BLOCK': 32,
            'SPLITS': splits,
            'SIGHT': sight,
        }
        grid = Grid(1, stack.kv_heads, splits, rows_per_program=lines // stack.groups)
        return Kernel(
            f'{self.name}.{name}',
            'attention.attend_rows',
            (*arguments, LAYER, PITCH),
            constants,
            grid,
            # 64 lines with a part of the length each take more registers than four warps have, and
            # so do integers that become numbers in them.
            warps=8 if lines > 64 or (lines == 64 and splits > 1) or self.kept == 'i8' else 4,
            stages=2,
        )

    def layer(self) -> list[Kernel]:
        """Returns the products of a layer and its norm."""
        stack = self.stack
        return [
            self.norm(),
            self.product('qkv', (stack.hidden, stack.qkv), 'fp32'),
            self.product('output', (stack.width, stack.hidden), 'fp32', ADDS=True),
            self.gated(),
            self.product(
                'down', (stack.ffn, stack.hidden), 'fp32', ADDS=True, FACTOR=1 / GATED_SHRUNK
            ),
        ]

    def head(self) -> Kernel:
        """Returns the head; `bits` are its."""
        network, compute = self.network, self.network.formats.compute
        kinds = weight_kinds(network, self.bits)
        arguments = pointers(
            state='i64',
            x=compute,
            **kinds,
            logits='fp32',
            best='fp32',
            winners='i32',
            checks='fp32',
        )
        constants = {
            'K': self.stack.hidden,
            **self._tile(self.tile.outputs),
            'VOCABULARY': network.vocabulary_size,
        }
        grid = Grid(1, self.head_programs, rows_per_program=self.tile.lines)
        return self._kernel('head', 'rows.head_rows', arguments, constants, grid)

    @property
    def head_programs(self) -> int:
        """How many winners a row has."""
        return self.network.vocabulary // self.tile.outputs

    def _tile(self, outputs: int) -> dict[str, Constant]:
        return {
            'BITS': self.bits,
            'BLOCK': INPUTS,
            'LINES': self.tile.lines,
            'OUTPUTS': outputs,
            'STEP': 64,
        }

    def _heads(self) -> dict[str, Constant]:
        stack = self.stack
        return {'HEADS': stack.heads, 'KV_HEADS': stack.kv_heads, 'D': stack.head_dim}

    def _kernel(
        self,
        name: str,
        source: str,
        arguments: tuple[Argument, ...],
        constants: dict[str, Constant],
        grid: Grid,
    ) -> Kernel:
        return Kernel(
            f'{self.name}.{name}',
            source,
            arguments,
            constants,
            grid,
            self.tile.warps,
            self.tile.stages,
        )


def few_rows_kernels(network: Network) -> list[Kernel]:
    """Returns the kernels of passes of 2 to FEW rows, and the head of as many."""
    part = Part('few', network, network.llm, network.formats.llm, TILES[FEW])
    lines = FEW * network.llm.groups
    head = Part('few', network, network.llm, network.formats.head, TILES[FEW])
    return [
        *part.layer(),
        part.turn(False),
        part.attend('attend', 'causal', lines, network.splits),
        part.attend('attend_masked', 'mask', lines, network.splits),
        combine_rows(network),
        head.head(),
        choose('few.choose', head.head_programs, False),
    ]


def many_rows_kernels(network: Network) -> list[Kernel]:
    """Returns the kernels of passes of more rows."""
    part = Part('many', network, network.llm, network.formats.llm, TILES[MANY])
    return [
        *part.layer(),
        part.turn(False),
        part.attend('attend', 'causal', 64, 1),
        part.attend('attend_masked', 'mask', 64, 1),
    ]


def encoder_kernels(network: Network) -> list[Kernel]:
    """Returns the kernels of the encoder and the projector."""
    stack, compute = network.encoder, network.formats.compute
    part = Part('encoder', network, stack, network.formats.encoder, TILES[MANY])
    hidden, features = stack.hidden, network.llm.hidden
    return [
        _patch_rows('levels', network, pointers(levels='u8', table='fp32', y=compute)),
        _patch_rows('numbers', network, pointers(numbers='fp32', y=compute)),
        part.product('patches', (network.patch_width, hidden), 'fp32', HAS_BIAS=True),
        *part.layer(),
        part.turn(True),
        part.attend('attend', 'all', 128, 1),
        _merge(network),
        part.product('project_0', (hidden, features), compute, HAS_BIAS=True, HAS_GELU=True),
        part.product('project_2', (features, features), compute, HAS_BIAS=True),
    ]


def _patch_rows(name: str, network: Network, arguments: tuple[Argument, ...]) -> Kernel:
    constants: dict[str, Constant] = {
        'VALUES': network.patch_values,
        'WIDTH': network.patch_width,
        'COLUMNS': column_count(network.patch_width),
    }
    source = f'frames.{name}_to_rows'
    return Kernel(f'encoder.{name}', source, arguments, constants, Grid(1, rows_per_program=1))


def _merge(network: Network) -> Kernel:
    stack = network.encoder
    arguments = (
        *pointers(x='fp32', gain='fp32', shares='fp32', y=network.formats.compute),
        Argument('merged', 'i32', False),
    )
    constants: dict[str, Constant] = {
        'SIZE': stack.size,
        'WIDTH': stack.hidden,
        'COLUMNS': column_count(stack.hidden),
        'EPS': stack.norm_eps,
    }
    grid = Grid(1, rows_per_program=1)
    return Kernel('encoder.merge', 'frames.merge_rows', arguments, constants, grid)
