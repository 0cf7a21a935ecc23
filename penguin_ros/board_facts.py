# SPDX-License-Identifier: Apache-2.0
"""What the files of a system say of its board: the model, the Jetson Linux on it, the power mode,
and the memory with swap and the pool of contiguous memory (CMA).

Everything is read from files, as any user and without a command of the board. Each reader takes the
root that the files lie below, so that another system can be planted; see `system_root`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.jetson import Jetson, find_jetson

NVPMODEL_STATUS, NVPMODEL_MODES = 'var/lib/nvpmodel/status', 'etc/nvpmodel.conf'
"""Which mode is on, as "pmode:0002"; and the names of all of them, as "POWER_MODEL ID=2
NAME=MAXN".
"""


@dataclass(frozen=True)
class MemoryFacts:
    """Bytes by /proc/meminfo: `available` counts the page cache as free; `cma_total` is the pool of
    contiguous memory, 0 where the kernel has none.
    """

    total: int = 0
    free: int = 0
    available: int = 0
    swap_total: int = 0
    swap_free: int = 0
    cma_total: int = 0
    cma_free: int = 0


@dataclass(frozen=True)
class PowerMode:
    """A mode of nvpmodel; `name` is '' where only its number is known."""

    number: int
    name: str

    def __str__(self) -> str:
        return self.name or f'mode {self.number}'


@dataclass(frozen=True)
class BoardFacts:
    """A machine: `model` by its device tree ('' on a PC), `jetson` and `power_mode` None where
    there is none; `power_modes` are all that the board has.
    """

    model: str
    jetson: Jetson | None
    memory: MemoryFacts
    power_mode: PowerMode | None = None
    power_modes: tuple[PowerMode, ...] = ()

    @property
    def release(self) -> str:
        """The Jetson Linux on it, as '36.4.7'; '' where it is none or not known."""
        release = self.jetson.release if self.jetson is not None else ()
        return '.'.join(str(number) for number in release)


def system_root() -> Path:
    """Returns what the files of this system lie below; PENGUIN_SYSTEM_ROOT names another."""
    return Path(os.environ.get('PENGUIN_SYSTEM_ROOT', '/'))


def board_facts(root: Path | None = None) -> BoardFacts:
    """Returns what the files below `root` say; what they do not say is empty or 0."""
    root = system_root() if root is None else root
    modes = _power_modes(root)
    return BoardFacts(
        _text(root / 'proc/device-tree/model').strip('\0 \n'),
        find_jetson(root),
        memory_facts(root),
        _power_mode(root, modes),
        modes,
    )


def memory_facts(root: Path | None = None) -> MemoryFacts:
    """Returns what /proc/meminfo says now."""
    found = kilobyte_lines((system_root() if root is None else root) / 'proc/meminfo')
    names = ('MemTotal', 'MemFree', 'MemAvailable', 'SwapTotal', 'SwapFree', 'CmaTotal', 'CmaFree')
    return MemoryFacts(*(found.get(name, 0) for name in names))


def kilobyte_lines(path: Path) -> dict[str, int]:
    """Returns the lines of a file of the kernel such as `MemAvailable:  123 kB`, in bytes; nothing
    where there is no such file.
    """
    lines = [line.split() for line in _text(path).splitlines()]
    return {
        words[0].rstrip(':'): int(words[1]) * 1024
        for words in lines
        if len(words) == 3 and words[2] == 'kB'
    }


def _power_modes(root: Path) -> tuple[PowerMode, ...]:
    found = re.findall(
        r'^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)', _text(root / NVPMODEL_MODES), re.MULTILINE
    )
    return tuple(PowerMode(int(number), name) for number, name in found)


def _power_mode(root: Path, modes: tuple[PowerMode, ...]) -> PowerMode | None:
    found = re.search(r'pmode:(\d+)', _text(root / NVPMODEL_STATUS))
    if found is None:
        return None
    number = int(found[1])
    return next((mode for mode in modes if mode.number == number), PowerMode(number, ''))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
