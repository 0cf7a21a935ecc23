# SPDX-License-Identifier: Apache-2.0
"""The kernels that write tokens one by one, for a network: what each is compiled with."""

from __future__ import annotations

from penguin_ros.kernels.network import Network, StackSizes
from penguin_ros.kernels.packing import INPUTS
from penguin_ros.kernels.table import (
    Argument,
    Constant,
    Grid,
    Kernel,
    column_count,
    pointers,
)

SHAPES = {
    'norm_product': (4, 128, 1),
    'add_product': (4, 256, 2),
    'gated_product': (4, 256, 1),
    'head': (8, 128, 1),
}
"""The outputs of a program, the words that it reads of each at a time, and its warps: 4 to 16 loads
of 16 bytes a thread are on their way at once, and a matrix of 2,048 outputs is 512 programs.
"""

SMALL = 2**19
"""Weights of a matrix so small that few programs multiply it."""

HEAD_TILES = 4
"""Tiles of outputs that a program of the head computes one after another: the programs leave a
winner each, and few are joined sooner.
"""

LAYER = Argument('layer', 'i32', False)
PITCH = Argument('pitch', 'i32')
"""Positions from one head of the cache to the next."""


def one_row_kernels(network: Network) -> list[Kernel]:
    """Returns all kernels of a pass of one row, and those that begin and end any pass."""
    llm, bits = network.llm, network.formats.llm
    return [
        _gather(network),
        _pick(llm),
        _product('one.qkv', 'norm_product', network, bits, llm.hidden, llm.qkv),
        _attend(network),
        _combine('one.combine', network, 'fp32'),
        _product('one.output', 'add_product', network, bits, llm.width, llm.hidden),
        _product('one.gated', 'gated_product', network, bits, llm.hidden, llm.ffn),
        _product('one.down', 'add_product', network, bits, llm.ffn, llm.hidden),
        _head(network),
        choose('one.choose', head_programs(network), True),
    ]


def weight_kinds(network: Network, bits: int) -> dict[str, str]:
    """Returns what the arguments `weights` and `scales` point to."""
    if bits == 16:
        return {'weights': network.formats.compute, 'scales': network.formats.compute}
    return {'weights': 'i32', 'scales': network.formats.compute}


def tile_of(function: str, bits: int, inputs: int, outputs: int) -> dict[str, Constant]:
    """Returns OUTPUTS and STEP of a product of one row, which divide what there is."""
    count, most, _ = SHAPES[function]
    unit, most = (1, 2 * most) if bits == 16 else (32 // bits, most)
    if function == 'gated_product' and inputs > 2048:
        most //= 2  # a second round would not fit into the registers beside the first
    step = next(size for size in (most, 256, 128, 64, 32, 16) if inputs // unit % size == 0)
    while inputs * outputs <= SMALL and count < 64:
        count *= 2
    return {'OUTPUTS': count, 'STEP': step}


def _product(
    name: str, function: str, network: Network, bits: int, inputs: int, outputs: int
) -> Kernel:
    llm = network.llm
    constants: dict[str, Constant] = {'K': inputs, 'BITS': bits, 'BLOCK': INPUTS}
    constants |= tile_of(function, bits, inputs, outputs)
    arguments = pointers(x='fp32', **weight_kinds(network, bits), y='fp32')
    if function != 'add_product':
        constants |= {'SIZE': llm.size, 'EPS': llm.norm_eps}
        arguments = (arguments[0], *pointers(gain='fp32'), *arguments[1:])
    if function == 'gated_product':
        constants['FFN'] = outputs
    grid = Grid(outputs // int(constants['OUTPUTS']))
    warps = SHAPES[function][2]
    return Kernel(name, f'one_row.{function}', arguments, constants, grid, warps=warps)


def _gather(network: Network) -> Kernel:
    llm, formats = network.llm, network.formats
    return Kernel(
        'gather',
        'tokens.gather',
        pointers(tokens='i32', table=formats.table, features=formats.compute, x='fp32'),
        {
            'SIZE': llm.size,
            'WIDTH': llm.hidden,
            'VOCABULARY': network.vocabulary_size,
            'COLUMNS': column_count(llm.hidden),
        },
        Grid(1, rows_per_program=1),
    )


def _pick(llm: StackSizes) -> Kernel:
    return Kernel(
        'pick',
        'tokens.pick',
        pointers(x='fp32', wanted='i32', y='fp32'),
        {'WIDTH': llm.hidden, 'COLUMNS': column_count(llm.hidden)},
        Grid(1, rows_per_program=1),
    )


def _attend(network: Network) -> Kernel:
    llm = network.llm
    arguments = pointers(
        state='i64',
        qkv='fp32',
        q_gain='fp32',
        k_gain='fp32',
        table='fp32',
        cache=network.formats.kept,
        kv_scales='fp32',
        parts='fp32',
        sums='fp32',
    )
    constants: dict[str, Constant] = {
        'HEADS': llm.heads,
        'KV_HEADS': llm.kv_heads,
        'D': llm.head_dim,
        'EPS': llm.norm_eps,
        'SPLITS': network.splits,
        'BLOCK': 32,
        'LINES': 16,
        'BFLOAT': network.formats.compute == 'bf16',
    }
    grid = Grid(llm.kv_heads, network.splits)
    return Kernel(
        'one.attend', 'one_query.attend_one', (*arguments, LAYER, PITCH), constants, grid, stages=2
    )


def _combine(name: str, network: Network, kind: str) -> Kernel:
    llm = network.llm
    constants: dict[str, Constant] = {
        'WIDTH': llm.width,
        'HEADS': llm.heads,
        'D': llm.head_dim,
        'SPLITS': network.splits,
    }
    arguments = pointers(parts='fp32', sums='fp32', mixed=kind)
    grid = Grid(1, llm.heads, rows_per_program=1)
    return Kernel(name, 'one_query.combine', arguments, constants, grid, warps=1)


def combine_rows(network: Network) -> Kernel:
    """Returns the kernel that joins the parts of several rows."""
    return _combine('few.combine', network, network.formats.compute)


def head_programs(network: Network) -> int:
    """Returns how many programs the head of one row has."""
    outputs = int(_head_tile(network)['OUTPUTS'])
    return -(-network.vocabulary // (outputs * HEAD_TILES))


def _head_tile(network: Network) -> dict[str, Constant]:
    tile = tile_of('head', network.formats.head, network.llm.hidden, network.vocabulary)
    return {**tile, 'OUTPUTS': min(32, int(tile['OUTPUTS']))}


def _head(network: Network) -> Kernel:
    llm, bits = network.llm, network.formats.head
    constants: dict[str, Constant] = {
        'K': llm.hidden,
        'BITS': bits,
        'BLOCK': INPUTS,
        'SIZE': llm.size,
        'EPS': llm.norm_eps,
        'VOCABULARY': network.vocabulary_size,
        'TILES': HEAD_TILES,
    }
    arguments = pointers(
        x='fp32',
        gain='fp32',
        **weight_kinds(network, bits),
        logits='fp32',
        best='fp32',
        winners='i32',
        checks='fp32',
    )
    return Kernel(
        'one.head',
        'tokens.head',
        arguments,
        constants | _head_tile(network),
        Grid(head_programs(network)),
        warps=1,
    )


def choose(name: str, count: int, advances: bool) -> Kernel:
    """Returns the kernel that joins `count` winners a row."""
    arguments = pointers(
        state='i64',
        best='fp32',
        winners='i32',
        checks='fp32',
        tokens='i32',
        chosen='i32',
        chosen_logits='fp32',
    )
    columns = min(1024, column_count(count))
    constants: dict[str, Constant] = {'COUNT': count, 'COLUMNS': columns, 'ADVANCES': advances}
    grid = Grid(1) if advances else Grid(1, rows_per_program=1)
    return Kernel(name, 'tokens.choose', arguments, constants, grid)
