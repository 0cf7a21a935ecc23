# SPDX-License-Identifier: Apache-2.0
"""What a build will take of disk, memory and time, against what there is. Knows numbers, writes
nothing.
"""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.errors import NotEnoughSpace
from penguin_ros.export.precision import MatrixPlan, stored_bytes
from penguin_ros.export.weight_file import ALIGNMENT

MEGABYTE = 1024 * 1024
BASE_MEMORY = 150 * MEGABYTE
"""Interpreter, libraries and the graphs of a large model."""

MEMORY_PER_THREAD = 80 * MEGABYTE
SMALL_FILES = 64 * MEGABYTE
"""Disk for graphs, tokenizer, tables and vectors."""

NANOSECONDS = {'int4': 12.0, 'int8': 5.0, 'float32': 3.0, 'float16': 3.0, 'bfloat16': 5.0}
"""Of work per element, in proportion, for the estimate of the time that is left."""

HASH_NANOSECONDS = 0.6
"""Per byte, in the same proportion."""


@dataclass(frozen=True)
class Estimate:
    """Bytes on disk, bytes of anonymous memory, and work in arbitrary units."""

    disk_bytes: int
    memory_bytes: int
    work: float


def estimate(plans: list[MatrixPlan], compute: str, table_bytes: int, threads: int) -> Estimate:
    """Of a bundle with these matrices; an upper bound for disk."""
    stored = sum(stored_bytes(plan, compute) + 2 * ALIGNMENT for plan in plans)
    disk = stored + table_bytes + SMALL_FILES
    work = sum(plan.inputs * plan.outputs * NANOSECONDS[plan.kind] for plan in plans)
    return Estimate(
        disk,
        BASE_MEMORY + threads * MEMORY_PER_THREAD,
        work + (stored + table_bytes) * HASH_NANOSECONDS,
    )


def check_resources(folder: Path, needed: Estimate) -> None:
    """NotEnoughSpace, with the numbers, when disk or memory would run out."""
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed.disk_bytes:
        raise NotEnoughSpace(
            f'{folder} needs {_shown(needed.disk_bytes)} of disk',
            f'{_shown(free)} are free there',
            'Free some, or build elsewhere with --out',
            needed.disk_bytes,
            free,
        )
    memory = free_memory()
    if memory < needed.memory_bytes:
        raise NotEnoughSpace(
            f'the build needs {_shown(needed.memory_bytes)} of memory',
            f'{_shown(memory)} are free',
            'Stop other programs, or take fewer threads with --threads 1',
            needed.memory_bytes,
            memory,
        )


def free_memory() -> int:
    """Bytes that this process may still take: the machine's, its control group's and its own limit,
    whichever is least.
    """
    return min(
        _of_machine(),
        _of_group(),
        _of_limit(resource.RLIMIT_DATA, 'VmData'),
        _of_limit(resource.RLIMIT_AS, 'VmSize'),
    )


def _of_machine() -> int:
    return _lines_of('/proc/meminfo').get('MemAvailable', 2**62)


def _of_group() -> int:
    """Of a version 2 control group; what it has in its page cache counts as free."""
    try:
        folder = Path('/sys/fs/cgroup')
        name = Path('/proc/self/cgroup').read_text().strip().rpartition('::')[2].lstrip('/')
        folder = folder / name if (folder / name / 'memory.max').is_file() else folder
        limit, used = (
            (folder / file).read_text().strip() for file in ('memory.max', 'memory.current')
        )
        statistics = dict(
            line.split() for line in (folder / 'memory.stat').read_text().splitlines()
        )
        return 2**62 if limit == 'max' else int(limit) - int(used) + int(statistics['file'])
    except (OSError, ValueError, KeyError):
        return 2**62


def _of_limit(kind: int, used: str) -> int:
    limit = resource.getrlimit(kind)[0]
    return (
        2**62
        if limit == resource.RLIM_INFINITY
        else limit - _lines_of('/proc/self/status').get(used, 0)
    )


def _lines_of(path: str) -> dict[str, int]:
    """Lines such as `MemAvailable:  123 kB` in bytes; empty where the system has no such file."""
    try:
        lines = [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return {}
    return {
        words[0].rstrip(':'): int(words[1]) * 1024
        for words in lines
        if len(words) == 3 and words[2] == 'kB'
    }


def _existing(folder: Path) -> Path:
    """The nearest folder above that exists."""
    folder = Path(os.path.abspath(folder))
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _shown(count: int) -> str:
    return f'{count / 1e9:.2f} GB'
