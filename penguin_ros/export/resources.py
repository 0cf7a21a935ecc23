# SPDX-License-Identifier: Apache-2.0
"""What a build will take of disk, memory and time, compared with what there is."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.board_facts import kilobyte_lines, memory_facts
from penguin_ros.board_memory.needs import FLOAT_BYTES, ModelSizes
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.errors import NotEnoughSpace
from penguin_ros.export.precision import (
    BuildChoice,
    MatrixPlan,
    MatrixPlanner,
    plan_precision,
    stored_bytes,
)
from penguin_ros.export.weight_file import ALIGNMENT

MEGABYTE = 1024 * 1024
ENDLESS = 2**62
BASE_MEMORY = 150 * MEGABYTE
"""Bytes for interpreter, libraries and the graphs of a large model."""

MEMORY_PER_THREAD = 80 * MEGABYTE
SMALL_FILES = 64 * MEGABYTE
"""Bytes on disk for graphs, tokenizer, tables and vectors."""

NANOSECONDS = {'int4': 12.0, 'int8': 5.0, 'float32': 3.0, 'float16': 3.0, 'bfloat16': 5.0}
"""Work per element, for the estimate of the time that is left; only the proportions matter."""

HASH_NANOSECONDS = 0.6
"""Work per byte of checksums, in the same proportion."""


@dataclass(frozen=True)
class Estimate:
    """What a build takes: bytes on disk, bytes of anonymous memory, and work in arbitrary units."""

    disk_bytes: int
    memory_bytes: int
    work: float


def estimate(plans: list[MatrixPlan], compute: str, table_bytes: int, threads: int) -> Estimate:
    """Estimates a bundle with these matrices; the disk is an upper bound."""
    stored = sum(stored_bytes(plan, compute) + 2 * ALIGNMENT for plan in plans)
    disk = stored + table_bytes + SMALL_FILES
    work = sum(plan.inputs * plan.outputs * NANOSECONDS[plan.kind] for plan in plans)
    work += (stored + table_bytes) * HASH_NANOSECONDS
    return Estimate(disk, BASE_MEMORY + threads * MEMORY_PER_THREAD, work)


def planned_sizes(shape: CheckpointShape, choice: BuildChoice, head_parts: int) -> ModelSizes:
    """Returns what a build of this choice would have, for the plan of its memory; no weights are
    needed. BuildRefused when the choice makes no sense.
    """
    precision = plan_precision(choice)
    planner = MatrixPlanner(shape, precision, choice.backend)
    return ModelSizes(
        shape,
        _weight_bytes(planner.decoder(head_parts), precision.compute),
        _weight_bytes(planner.encoder(), precision.encoder_compute),
        FLOAT_BYTES[precision.compute],
        FLOAT_BYTES[precision.encoder_compute],
    )


def check_resources(folder: Path, needed: Estimate) -> None:
    """Raises NotEnoughSpace, with the numbers, when disk or memory would run out."""
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
    """Returns the bytes that this process may still take: what is free on the machine, in its
    control group and below its own limits, whichever is least.
    """
    return min(
        _free_on_machine(),
        _free_in_group(),
        _free_below_limit(resource.RLIMIT_DATA, 'VmData'),
        _free_below_limit(resource.RLIMIT_AS, 'VmSize'),
    )


def _free_on_machine() -> int:
    return memory_facts().available or ENDLESS


def _free_in_group() -> int:
    """Asks a version 2 control group; what it has in its page cache counts as free."""
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
        return ENDLESS if limit == 'max' else int(limit) - int(used) + int(statistics['file'])
    except (OSError, ValueError, KeyError):
        return ENDLESS


def _free_below_limit(kind: int, used: str) -> int:
    limit = resource.getrlimit(kind)[0]
    if limit == resource.RLIM_INFINITY:
        return ENDLESS
    return limit - kilobyte_lines(Path('/proc/self/status')).get(used, 0)


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above it that exists."""
    folder = Path(os.path.abspath(folder))
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _shown(count: int) -> str:
    return f'{count / 1e9:.2f} GB'


def _weight_bytes(plans: Iterable[MatrixPlan], compute: str) -> int:
    return sum(stored_bytes(plan, compute) for plan in plans)
