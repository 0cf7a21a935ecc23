# SPDX-License-Identifier: Apache-2.0
"""What the files of the system tell of a board beside `board_facts`: clocks, throttling, sensors,
packages.

Every function reads below `system_root`; what a machine has not is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from penguin_ros.board_facts import (
    NVPMODEL_MODES,
    board_facts,
    kilobyte_lines,
    memory_facts,
    system_root,
)

GPU_CLOCKS, CPU_CLOCKS = 'sys/class/devfreq', 'sys/devices/system/cpu/cpu0/cpufreq'
EMC_CLOCKS = ('sys/kernel/debug/bpmp/debug/clk/emc/rate', 'sys/kernel/debug/clk/emc/clk_rate')
OVERCURRENT = 'sys/class/hwmon/*/oc*_event_cnt'
THROTTLERS = ('throttl', 'hot-surface', 'cpu-alert', 'gpu-alert', 'soc')
"""Parts of the names of the cooling devices that slow the processors down."""


def memory() -> dict[str, int]:
    """Returns the bytes of memory by kind, and those that the system caches of files."""
    cached = kilobyte_lines(system_root() / 'proc/meminfo').get('Cached', 0)
    return {**asdict(memory_facts()), 'cached': cached}


def resident_bytes() -> int:
    """Returns the resident memory of this process."""
    found = re.search(r'^VmRSS:\s+(\d+) kB', Path('/proc/self/status').read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def power_mode() -> dict[str, Any]:
    """Returns the power mode, the one in which the GPU runs fastest with its number, and whether
    they are equally fast; nothing where the board has none.
    """
    facts = board_facts()
    speeds = {
        int(number): _gpu_clock(body)
        for number, body in re.findall(
            r'<\s*POWER_MODEL\s+ID=(\d+)[^>]*>([^<]*)', _text(NVPMODEL_MODES)
        )
    }
    mode = facts.power_mode
    if mode is None or mode.number not in speeds:
        return {'name': str(mode), 'is_fastest': True} if mode else {}
    best = max(facts.power_modes, key=lambda each: speeds[each.number])
    is_fastest = speeds[mode.number] == speeds[best.number]
    return {
        'name': str(mode),
        'fastest': str(best),
        'fastest_id': best.number,
        'is_fastest': is_fastest,
    }


def clocks() -> dict[str, dict[str, int]]:
    """Returns the clocks in Hz, `now`, at `most` as they are limited, and at most by `design`, of
    the GPU and the CPU, and what the memory's is now.
    """
    found: dict[str, dict[str, int]] = {}
    for folder in sorted((system_root() / GPU_CLOCKS).glob('*gpu*')):
        near = folder.relative_to(system_root())
        design = [int(word) for word in _text(f'{near}/available_frequencies').split()]
        found['gpu'] = _clock(f'{near}/cur_freq', f'{near}/max_freq', max(design, default=0))
    cpu = _number(f'{CPU_CLOCKS}/cpuinfo_max_freq')
    found['cpu'] = {
        name: 1000 * value  # these files count in kHz
        for name, value in _clock(
            f'{CPU_CLOCKS}/scaling_cur_freq', f'{CPU_CLOCKS}/scaling_max_freq', cpu
        ).items()
    }
    for path in EMC_CLOCKS:
        if rate := _number(path):
            found['emc'] = {'now': rate}
    return {name: values for name, values in found.items() if values}


def throttling() -> dict[str, int]:
    """Returns what slows the board down: how often too high a current has since it was started, and
    the states of cooling devices that are at work.
    """
    found = {}
    for path in sorted(system_root().glob(OVERCURRENT)):
        if count := _number(str(path.relative_to(system_root()))):
            found[path.name.partition('_')[0]] = count
    for folder in sorted((system_root() / 'sys/class/thermal').glob('cooling_device*')):
        near = folder.relative_to(system_root())
        kind = _text(f'{near}/type').strip()
        state = _number(f'{near}/cur_state')
        if state and any(part in kind for part in THROTTLERS):
            found[kind] = state
    return found


def temperatures() -> dict[str, float]:
    """Returns degrees Celsius by the name of the sensor; those that are switched off are left
    out.
    """
    found = {}
    for folder in sorted((system_root() / 'sys/class/thermal').glob('thermal_zone*')):
        near = folder.relative_to(system_root())
        if value := _number(f'{near}/temp'):
            found[_text(f'{near}/type').strip()] = value / 1000
    return found


def power_watts() -> float:
    """Returns what the whole module takes now; 0 where no sensor says so."""
    for label in sorted(system_root().glob('sys/class/hwmon/*/in*_label')):
        near = label.relative_to(system_root())
        number = re.sub(r'\D', '', label.name)
        if _text(str(near)).strip() in ('VDD_IN', 'VIN_SYS_5V0', 'VIN'):
            volts = _number(f'{near.parent}/in{number}_input') / 1000
            return volts * _number(f'{near.parent}/curr{number}_input') / 1000
    return 0.0


def has_desktop() -> bool:
    """Returns whether a display server has a socket open."""
    return any((system_root() / 'tmp/.X11-unix').glob('X*'))


def package_versions(beginnings: tuple[str, ...]) -> dict[str, str]:
    """Returns the versions of the packages of apt that are installed and whose names begin so."""
    found = {}
    for entry in _entries(_text('var/lib/dpkg/status')):
        name = entry.get('Package', '')
        if name.startswith(beginnings) and entry.get('Status', '').endswith(' installed'):
            found[name] = entry.get('Version', '')
    return found


def _entries(text: str) -> Iterator[dict[str, str]]:
    for block in text.split('\n\n'):
        yield dict(re.findall(r'^(Package|Status|Version): (.*)$', block, re.MULTILINE))


def _clock(now: str, most: str, design: int) -> dict[str, int]:
    values = {'now': _number(now), 'most': _number(most), 'design': design}
    return {name: value for name, value in values.items() if value}


def _gpu_clock(body: str) -> float:
    found = re.search(r'^GPU MAX_FREQ (-?\d+)', body, re.MULTILINE)
    clock = int(found[1]) if found else 0
    return math.inf if clock < 0 else clock  # -1 is no limit


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if re.fullmatch(r'-?\d+', text) else 0


def _text(path: str) -> str:
    try:
        return (system_root() / path).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
