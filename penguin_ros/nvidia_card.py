# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA card of this machine, asked of its driver: no package is needed, and nothing heavy is
imported. scripts/setup runs this file by itself:

    python3 penguin_ros/nvidia_card.py     one line; nothing where there is no card

The driver's files are read first, since asking its library starts CUDA in this process; where there
are none, as in some containers and under WSL, the library is asked.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER_FILES = Path(os.environ.get('PENGUIN_SYSTEM_ROOT', '/'), 'proc/driver/nvidia')


@dataclass(frozen=True)
class Card:
    """The first card: its `name`; `cuda`, the newest CUDA that the driver runs, as CUDA counts
    (12060 is 12.6; 0 where libcuda.so.1 is absent); `driver`, the driver's own version, '' where it
    is not known; `count` of cards.
    """

    name: str
    cuda: int
    driver: str = ''
    count: int = 1

    def runs(self, built_for: str) -> bool:
        """Returns whether the driver runs a library that was built for a CUDA, as '12.8'; '' is one
        that was built for none. Within a major version it runs newer ones too.
        """
        major = int(built_for.partition('.')[0]) if built_for[:1].isdigit() else 0
        return 0 < major <= self.cuda // 1000

    def __str__(self) -> str:
        more = f' and {self.count - 1} more' if self.count > 1 else ''
        driver = f', driver {self.driver}' if self.driver else ''
        cuda = f'CUDA {self.cuda // 1000}.{self.cuda % 1000 // 10}'
        return f'{self.name}{more}{driver}, {cuda if self.cuda else "no libcuda.so.1"}'


def find_card() -> Card | None:
    """Returns the card, or None where there is none or its driver does not work."""
    library = _library()
    names = _names_of_files() or _names_of(library)
    if not names:
        return None
    return Card(names[0], _cuda(library), _driver(), len(names))


def _names_of_files() -> list[str]:
    names = []
    for path in sorted(DRIVER_FILES.glob('gpus/*/information')):
        found = re.search(r'^Model:\s*(.+?)\s*$', _text(path), re.MULTILINE)
        if found:
            names.append(found[1])
    return names


def _names_of(library: Any) -> list[str]:
    count = ctypes.c_int(0)
    try:
        if library is None or library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
            return []
        names = []
        for index in range(count.value):
            name = ctypes.create_string_buffer(256)
            if not library.cuDeviceGetName(name, 256, index):
                names.append(name.value.decode('utf-8', 'replace'))
        return names
    except AttributeError:
        return []


def _cuda(library: Any) -> int:
    version = ctypes.c_int(0)
    try:
        failed = library is None or library.cuDriverGetVersion(ctypes.byref(version))
    except AttributeError:
        return 0
    return 0 if failed else version.value


def _driver() -> str:
    found = re.search(r'\b(\d+\.\d+(\.\d+)?)\b', _text(DRIVER_FILES / 'version'))
    return found[1] if found else ''


def _library() -> Any:
    try:
        return ctypes.CDLL('libcuda.so.1')
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


if __name__ == '__main__':
    card = find_card()
    if card is not None:
        print(card)
