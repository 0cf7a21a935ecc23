#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the kernels of the 2B for Orin, Thor and H100, and writes what came of it into
docs/kernels.md, with the digest of the sources; the predictions of the machine model, too.

`write_kernel_table.py [--check]`; --check only says whether the digest is that of the sources. It
takes minutes, and needs Triton (./scripts/setup test).
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from penguin_ros.checkpoint.published_shapes import PUBLISHED
from penguin_ros.export.cuda.kernel_files import kernels_of
from penguin_ros.kernels.ahead import compile_ahead, digest_of_sources
from penguin_ros.kernels.disassembly import CodeReport, code_report, faults, instructions_a_weight
from penguin_ros.kernels.machine_model import (
    BOARDS,
    decode_costs,
    limit_seconds,
    predicted_seconds,
)
from penguin_ros.kernels.network import Formats, network_of
from penguin_ros.kernels.table import TARGETS, Compiled, Kernel

PAGE = ROOT / 'docs' / 'kernels.md'
SHOWN = (87, 110, 90)
PRODUCTS = ('one.qkv', 'one.output', 'one.gated', 'one.down')
POSITIONS = (100, 1000, 4000)
NETWORKS = {name: network_of(shape, Formats()) for name, shape in PUBLISHED.items()}


def int8_kernels() -> list[Kernel]:
    """Returns the kernels of the 2B that keys and values in int8 make others."""
    usual = {kernel.name: kernel for kernel in kernels_of(NETWORKS['2b'])}
    narrow = kernels_of(network_of(PUBLISHED['2b'], Formats(cache='i8')))
    return [kernel for kernel in narrow if kernel != usual[kernel.name]]


def digest() -> str:
    """Returns the digest of what the tables are about."""
    parts = [digest_of_sources(each) for each in (kernels_of(NETWORKS['2b']), int8_kernels())]
    return hashlib.sha256(''.join(parts).encode()).hexdigest()[:16]


def code_table() -> str:
    """Compiles everything and returns the tables."""
    kernels = kernels_of(NETWORKS['2b'])
    made = {target: compile_ahead(kernels, target) for target in SHOWN}
    lines = [
        f'Sources {digest()}; {made[87][0].compiler} for sm_87, '
        f'{made[90][0].compiler.split(", ")[1]} for the others; '
        f'PTX {", ".join(f"{TARGETS[target] / 10} (sm_{target})" for target in SHOWN)}.',
        '',
        *_rows(kernels, made),
    ]
    sizes = ', '.join(
        f'sm_{target} {sum(len(each.cubin) for each in made[target]) / 1e6:.2f} MB machine code '
        f'and {sum(len(each.ptx) for each in made[target]) / 1e6:.2f} MB PTX'
        for target in SHOWN
    )
    weights = ', '.join(
        f'{each.kernel.name} {instructions_a_weight(each.kernel, code_report(each)):.1f}'
        for each in made[87]
        if each.kernel.name in PRODUCTS
    )
    lines += ['', f'All {len(kernels)}: {sizes}.', '']
    lines.append(f'Instructions for each weight, sm_87: {weights}.')
    narrow = int8_kernels()
    lines += ['', 'With keys and values in int8 (`--kv int8`) these are others:', '']
    lines += _rows(narrow, {target: compile_ahead(narrow, target) for target in SHOWN})
    return '\n'.join(lines)


def _rows(kernels: Sequence[Kernel], made: Mapping[int, Sequence[Compiled]]) -> list[str]:
    """Returns the lines of a table of kernels, compiled for each target."""
    heads = ' | '.join(f'sm_{target}: registers, spilled, shared, code' for target in SHOWN)
    lines = [
        f'| kernel | warps | programs for 1 row, 16, 512 | {heads} |',
        '|---|---|---|' + '---|' * len(SHOWN),
    ]
    for index, kernel in enumerate(kernels):
        grids = ', '.join('x'.join(map(str, kernel.grid.programs(n))) for n in (1, 16, 512))
        cells = ' | '.join(_cell(made[target][index]) for target in SHOWN)
        lines.append(f'| {kernel.name} | {kernel.warps} | {grids} | {cells} |')
    return lines


def _cell(made: Compiled) -> str:
    code: CodeReport = code_report(made)
    wrong = faults(made, code)
    assert not wrong, wrong
    matrix = f', {code.matrix} of matrices' if code.matrix else ''
    return (
        f'{made.registers}, {made.spilled_bytes}, {made.shared_bytes:,}, '
        f'{code.instructions} ({code.wide_loads} loads of 16 B{matrix})'
    )


def model_table() -> str:
    """Returns predicted tokens a second."""
    lines = [
        '| board | '
        + ' | '.join(f'{name.upper()} at {at}' for name in NETWORKS for at in POSITIONS)
        + ' |',
        '|---|' + '---|' * len(NETWORKS) * len(POSITIONS),
    ]
    for board in BOARDS:
        cells = []
        for network in NETWORKS.values():
            for position in POSITIONS:
                costs = decode_costs(network, position)
                made, most = predicted_seconds(board, costs), limit_seconds(board, costs)
                cells.append(f'{1 / made:.0f} ({1 / most:.0f})')
        lines.append(f'| {board.name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def cost_table() -> str:
    """Returns bytes and launches of a step of the 2B by kernel."""
    costs = decode_costs(NETWORKS['2b'], 1000)
    lines = ['| kernel | launches a token | MB a token |', '|---|---|---|']
    lines += [f'| {cost.kernel} | {cost.launches} | {cost.bytes / 1e6:.2f} |' for cost in costs]
    total = sum(cost.bytes for cost in costs) / 1e6
    return '\n'.join([*lines, f'| all | {sum(c.launches for c in costs)} | {total:.1f} |'])


def replaced(text: str, name: str, table: str) -> str:
    """Returns the page with a table between its marks."""
    begin, end = (
        f'<!-- {name}: written by tools/write_kernel_table.py -->',
        f'<!-- end of {name} -->',
    )
    pattern = re.compile(re.escape(begin) + '.*?' + re.escape(end), re.S)
    assert pattern.search(text), f'{PAGE} has no place for {name}'
    return pattern.sub(lambda _: f'{begin}\n\n{table}\n\n{end}', text)


def is_current() -> bool:
    """Returns whether the page is about the sources as they are."""
    text = PAGE.read_text(encoding='utf-8')
    return f'Sources {digest()};' in text and model_table() in text and cost_table() in text


def main() -> None:
    """Writes, or checks."""
    if '--check' in sys.argv[1:]:
        sys.exit(0 if is_current() else f'{PAGE} is not of these sources: run it without --check')
    text = PAGE.read_text(encoding='utf-8')
    for name, table in (('costs', cost_table), ('predictions', model_table), ('code', code_table)):
        text = replaced(text, name, table())
    PAGE.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
