# SPDX-License-Identifier: Apache-2.0
"""What can be told of a compiled kernel without a GPU: from the compiler's report and from the
machine code, read with the disassembler that Triton brings.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.kernels.library import triton_folder
from penguin_ros.kernels.table import Compiled, Kernel

SHARED_LIMITS = {80: 166_912, 87: 166_912, 90: 232_448, 110: 232_448, 120: 101_376}
"""Bytes of shared memory that a block may have, by target."""

REGISTER_LIMIT = 255
REGISTERS = 65_536
"""Of a thread, and of a multiprocessor."""

LINE = re.compile(r'^\s+/\*([0-9a-f]{4,5})\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);', re.M)
TARGET = re.compile(r'0x([0-9a-f]+)')
FLUSHED = re.compile(r'\b(fma|mul|add|sub)\.[\w.]*ftz')
WIDE_LOADS = re.compile(r'LDG\S*\.128|LDGSTS\S*\.128')


@dataclass(frozen=True)
class Instruction:
    """An instruction at an address; `operands` as the disassembler writes them."""

    address: int
    name: str
    operands: str


@dataclass(frozen=True)
class CodeReport:
    """What stands in the machine code: `instructions`, of them `loop` in the longest loop that has
    no other inside, `wide_loads` of 16 bytes a thread from global memory, `matrix` products of
    tensor cores.
    """

    instructions: int
    loop: int
    wide_loads: int
    matrix: int


def code_report(compiled: Compiled) -> CodeReport:
    """Returns what the disassembler shows; RuntimeError where it fails."""
    code = instructions_of(compiled.cubin)
    return CodeReport(
        instructions=len(code),
        loop=max(_inner_loops(code), default=0),
        wide_loads=sum(bool(WIDE_LOADS.match(each.name)) for each in code),
        matrix=sum(each.name.split('.')[0].endswith('MMA') for each in code),
    )


def instructions_of(cubin: bytes) -> list[Instruction]:
    """Returns the instructions of machine code, without what fills it up."""
    folder = triton_folder()
    assert folder is not None, 'it was compiled with Triton'
    program = folder / 'triton' / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        Path(file.name).write_bytes(cubin)
        done = subprocess.run(
            [str(program), '-sass', file.name], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f'{program}: {done.stderr[-500:]}')
    found = [
        Instruction(int(match[1], 16), match[3], match[4]) for match in LINE.finditer(done.stdout)
    ]
    return [each for each in found if each.name != 'NOP']


def _inner_loops(code: list[Instruction]) -> list[int]:
    """Returns the lengths of loops that hold no other, in instructions."""
    spans = []
    for each in code:
        if each.name.startswith('BRA') and (goal := TARGET.search(each.operands)):
            begin = int(goal.group(1), 16)
            if begin < each.address:
                spans.append((begin, each.address))
    inner = [
        (begin, end)
        for begin, end in spans
        if not any((begin, end) != (b, e) and begin <= b and e <= end for b, e in spans)
    ]
    return [sum(begin <= each.address <= end for each in code) for begin, end in inner]


def instructions_a_weight(kernel: Kernel, code: CodeReport) -> float:
    """Returns how many instructions a thread of a product of one row issues for each weight."""
    constants = kernel.constants
    per = 32 // int(constants['BITS']) if constants['BITS'] != 16 else 1
    rows = int(constants['OUTPUTS']) * (2 if 'FFN' in constants else 1)
    rounds = -(-int(constants['K']) // (int(constants['STEP']) * per))
    weights = rows * int(constants['K']) / (32 * kernel.warps)
    issued = code.instructions + code.loop * (rounds - 1) if rounds > 1 else code.instructions
    return issued / weights


def faults(compiled: Compiled, code: CodeReport) -> list[str]:
    """Returns what is wrong with a compiled kernel, in sentences; empty when nothing is."""
    kernel, version = compiled.kernel, compiled.ptx_version
    threads = 32 * kernel.warps
    found = {
        f'spills {compiled.spilled_bytes} bytes': compiled.spilled_bytes > 0,
        f'has {compiled.registers} registers': compiled.registers > REGISTER_LIMIT
        or compiled.registers * threads > REGISTERS,
        f'takes {compiled.shared_bytes} bytes of shared memory': compiled.shared_bytes
        > SHARED_LIMITS[compiled.target],
        'has no load of 16 bytes': kernel.name not in NARROW and not code.wide_loads,
        'takes subnormal numbers for zero, as which weights are read': bool(
            kernel.source.startswith(READ_AS_SUBNORMAL) and FLUSHED.search(compiled.ptx)
        ),
        'is not PTX of the version asked for': f'.version {version // 10}.{version % 10}'
        not in compiled.ptx,
        'is not for the target asked for': not re.search(
            rf'\.target sm_{compiled.target}a?\b', compiled.ptx
        ),
    }
    return [
        f'{kernel.name} for sm_{compiled.target} {what}' for what, holds in found.items() if holds
    ]


READ_AS_SUBNORMAL = ('one_row.', 'tokens.head')
"""Sources that read weights as `sources/unpacking.py` says."""

NARROW = ('encoder.levels', 'encoder.numbers')
"""Kernels whose rows are no multiple of 16 bytes."""
