# SPDX-License-Identifier: Apache-2.0
"""What a driver sees of a compiled kernel: its name, its parameters, the GPU it is for. Real PTX
and real machine code are read; stand-ins, which no compiler is needed for, say the same and which
kernel they stand for.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, replace
from typing import Any

from penguin_ros.kernels.table import HIDDEN_POINTERS, Compiled, Kernel, kernel_of

ELF = b'\x7fELF'
STAND_IN = ELF + b' stand-in\n'
PTX_TYPES = {'u64': 'pointer', 's64': 'i64', 'u32': 'i32', 's32': 'i32', 'f32': 'fp32'}
KPARAM_INFO = 0x1704
"""The attribute of machine code that gives the place and size of a parameter."""


@dataclass(frozen=True)
class Loaded:
    """An image: `parameters` are kinds in order, 'pointer', 'i32', 'i64', 'fp32', or of machine
    code sizes in bytes; `threads` is 0 where any number will do. `kernel` is what a stand-in says
    it is. PTX that is not `is_portable` is for its target alone.
    """

    entry: str
    target: int
    parameters: tuple[str | int, ...]
    threads: int = 0
    ptx_version: int = 0
    kernel: Kernel | None = None
    is_portable: bool = True


def stand_in(kernel: Kernel, target: int, ptx_version: int = 85) -> Compiled:
    """Returns what a compiler would make of a kernel, but for the code."""
    kinds = {'*': '.u64 .ptr .global .align 1', 'i32': '.u32', 'i64': '.s64', 'fp32': '.f32'}
    names = [kinds['*' if one.is_pointer else one.kind] for one in kernel.arguments]
    names += ['.u64 .ptr .global .align 1'] * HIDDEN_POINTERS
    symbol = kernel.source.rpartition('.')[2]
    head = ',\n'.join(f'\t.param {name} {symbol}_param_{i}' for i, name in enumerate(names))
    only = 'a' if target >= 90 else ''
    ptx = (
        f'//\n.version {ptx_version // 10}.{ptx_version % 10}\n.target sm_{target}{only}\n'
        f'.address_size 64\n// kernel {json.dumps(kernel.as_json())}\n'
        f'.visible .entry {symbol}(\n{head}\n)\n.reqntid {32 * kernel.warps}\n{{\n\tret;\n}}\n'
    )
    loaded = replace(read_ptx(ptx.encode()), target=target)
    return Compiled(kernel, target, ptx_version, symbol, ptx, assembled(loaded), 0, 32, 0, 0)


def read_ptx(text: bytes) -> Loaded:
    """Reads PTX; ValueError when it is none."""
    words = text.decode()
    version = re.search(r'^\.version (\d+)\.(\d+)', words, re.MULTILINE)
    target = re.search(r'^\.target sm_(\d+)(a?)', words, re.MULTILINE)
    entry = re.search(r'\.entry (\w+)\(([^)]*)\)', words)
    if version is None or target is None or entry is None:
        raise ValueError('no PTX')
    threads = re.search(r'\.reqntid (\d+)', words)
    kernel = re.search(r'^// kernel (.*)$', words, re.MULTILINE)
    return Loaded(
        entry=entry[1],
        target=int(target[1]),
        is_portable=not target[2],
        parameters=tuple(PTX_TYPES[kind] for kind in re.findall(r'\.param \.(\w+)', entry[2])),
        threads=int(threads[1]) if threads else 0,
        ptx_version=int(version[1]) * 10 + int(version[2]),
        kernel=kernel_of(json.loads(kernel[1])) if kernel else None,
    )


def assembled(loaded: Loaded) -> bytes:
    """Returns stand-in machine code."""
    plain = {
        'entry': loaded.entry,
        'target': loaded.target,
        'parameters': loaded.parameters,
        'threads': loaded.threads,
        'kernel': loaded.kernel.as_json() if loaded.kernel else None,
    }
    return STAND_IN + json.dumps(plain).encode()


def read_code(image: bytes) -> Loaded:
    """Reads machine code; ValueError when it is none."""
    if image.startswith(STAND_IN):
        plain: dict[str, Any] = json.loads(image[len(STAND_IN) :].decode())
        kernel = plain['kernel']
        return Loaded(
            plain['entry'],
            plain['target'],
            tuple(plain['parameters']),
            plain['threads'],
            kernel=kernel_of(kernel) if kernel else None,
        )
    if not image.startswith(ELF):
        raise ValueError('no machine code')
    return _read_elf(image)


def _read_elf(image: bytes) -> Loaded:
    """Reads real machine code: the sections are named after the kernel."""
    abi = image[8]
    (offset,) = struct.unpack_from('<Q', image, 40)
    (flags,) = struct.unpack_from('<I', image, 48)
    size, count, names_at = struct.unpack_from('<HHH', image, 58)
    target = (flags >> 8) & 0xFF if abi >= 8 else flags & 0xFF
    headers = [struct.unpack_from('<IIQQQQ', image, offset + i * size) for i in range(count)]
    names = headers[names_at]
    sections = {}
    for name, _, _, _, start, length in headers:
        begin = names[4] + name
        label = image[begin : image.index(b'\0', begin)].decode()
        sections[label] = image[start : start + length]
    entry = next(label[len('.text.') :] for label in sections if label.startswith('.text.'))
    return Loaded(entry, target, _parameter_sizes(sections[f'.nv.info.{entry}']))


def _parameter_sizes(section: bytes) -> tuple[int, ...]:
    found, at = {}, 0
    while at < len(section):
        kind, size = struct.unpack_from('<HH', section, at)
        has_value = kind & 0xFF == 4  # the low byte says how the value is stored
        if kind == KPARAM_INFO:
            _, ordinal, _, packed = struct.unpack_from('<IHHI', section, at + 4)
            found[ordinal] = packed >> 18
        at += 4 + (size if has_value else 0)
    return tuple(found[ordinal] for ordinal in sorted(found))
