# SPDX-License-Identifier: Apache-2.0
"""Files of boards, planted below a folder that stands in for the root of a system."""

from __future__ import annotations

from pathlib import Path

MODES = '< POWER_MODEL ID={} NAME={} >\nCPU_ONLINE CORE_0 1\n'


def write(root: Path, name: str, text: str) -> Path:
    """Makes a file of a system's root, and returns the root."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root


def memory(root: Path, total: int, available: int, cma_free: int = 0) -> Path:
    """Plants /proc/meminfo with these kilobytes."""
    names = ('MemTotal', 'MemFree', 'MemAvailable', 'SwapTotal', 'SwapFree', 'CmaTotal', 'CmaFree')
    values = (total, available // 2, available, 0, 0, cma_free and 262144, cma_free)
    lines = (f'{name}: {value:>12} kB' for name, value in zip(names, values, strict=True))
    return write(root, 'proc/meminfo', '\n'.join(lines) + '\n')


def orin_nano(root: Path, release: str = 'R36 (release), REVISION: 4.7') -> Path:
    """Plants an Orin Nano of 8 GB in its 25 W mode, and returns its root."""
    model = 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0'
    write(root, 'proc/device-tree/model', model)
    write(root, 'proc/device-tree/compatible', 'nvidia,p3768\0nvidia,tegra234\0')
    write(root, 'etc/nv_tegra_release', f'# {release}, GCID: 1, BOARD: generic')
    modes = (MODES.format(*mode) for mode in enumerate(('15W', '25W', 'MAXN_SUPER')))
    write(root, 'etc/nvpmodel.conf', '# < POWER_MODEL ID=9 NAME=COMMENT >\n' + ''.join(modes))
    write(root, 'var/lib/nvpmodel/status', 'pmode:0001 fmode:quiet')
    return memory(root, 7_802_000, 7_100_000, 200_000)
