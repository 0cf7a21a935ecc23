# SPDX-License-Identifier: Apache-2.0
"""What Jetson this is: the release of its Linux, the JetPack that goes with it, its CUDA, and the
bindings that fit. Imports nothing but the standard library, since scripts/setup runs this file
before anything is installed:

    python3 penguin_ros/jetson.py     one line of words; nothing on another machine

Sources: NVIDIA's release notes of JetPack 6.0 to 7.2.2.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

RELEASES = (
    # First release of Jetson Linux, JetPack, CUDA of its driver.
    ((36, 0), '6.0', (12, 2)),
    ((36, 4), '6.1 or 6.2', (12, 6)),
    ((36, 5), '6.2.2', (12, 6)),
    ((38, 0), '7.0', (13, 0)),
    ((38, 4), '7.1', (13, 0)),
    ((39, 0), '7.2', (13, 2)),
)


@dataclass(frozen=True)
class Jetson:
    """A Jetson: its Jetson Linux release (36, 4, 3), JetPack and CUDA (12, 6) of the driver."""

    release: tuple[int, ...]
    jetpack: str
    cuda: tuple[int, int] | None

    def __str__(self) -> str:
        release = '.'.join(str(number) for number in self.release) or 'unknown'
        cuda = '.'.join(str(number) for number in self.cuda) if self.cuda else 'unknown'
        return f'l4t={release} jetpack={self.jetpack.replace(" ", "_")} cuda={cuda}'


def find_jetson(root: Path = Path('/')) -> Jetson | None:
    """Returns what the files below `root` say; None on a machine that is no Jetson.

    PENGUIN_L4T=36.4.3 speaks for one whose files cannot be seen, as while an image is built.
    """
    named = os.environ.get('PENGUIN_L4T', '')
    text = named and 'R{} REVISION: {}'.format(*f'{named}.0'.split('.', 1))
    text = text or _read(root / 'etc' / 'nv_tegra_release')
    tree = _read(root / 'proc' / 'device-tree' / 'compatible')
    if not text and 'nvidia,tegra' not in tree:
        return None
    release = release_of(text)
    known = [entry for entry in RELEASES if entry[0] <= release]
    jetpack = known[-1][1] if known else 'unknown'
    return Jetson(release, jetpack, _toolkit(root) or (known[-1][2] if known else None))


def release_of(text: str) -> tuple[int, ...]:
    """Returns (36, 4, 3) of "# R36 (release), REVISION: 4.3, ..."; empty when it says nothing."""
    match = re.search(r'R(\d+).*?REVISION:\s*([\d.]+)', text)
    if match is None:
        return ()
    return (int(match[1]), *(int(number) for number in match[2].strip('.').split('.')))


def bindings_for(cuda: tuple[int, int]) -> str:
    """Returns the requirement of NVIDIA's Python bindings for a driver's CUDA. They contain a CUDA
    runtime: it must be of the driver's major version, and within 13 not newer than the driver.
    """
    major, minor = cuda
    if major == 12:  # 12.9 is the first that has all that is used here
        return 'cuda-bindings==12.9.*'
    return f'cuda-bindings>={major}.0,<{major}.{minor + 1}'


def _toolkit(root: Path) -> tuple[int, int] | None:
    """The CUDA that JetPack installed; its driver is of the same version."""
    try:
        version = json.loads(_read(root / 'usr/local/cuda/version.json'))['cuda']['version']
        major, minor = re.findall(r'\d+', version)[:2]
    except (ValueError, KeyError, TypeError):
        return None
    return int(major), int(minor)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''


if __name__ == '__main__':
    jetson = find_jetson(Path(os.environ.get('PENGUIN_SYSTEM_ROOT', '/')))
    if jetson is not None:
        bindings = bindings_for(jetson.cuda) if jetson.cuda else 'cuda-bindings==12.9.*'
        print(f'{jetson} bindings={bindings}')
