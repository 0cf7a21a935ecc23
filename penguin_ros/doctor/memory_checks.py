# SPDX-License-Identifier: Apache-2.0
"""The checks of memory: what a Jetson has of it, and whether a bundle for a GPU fits, by the
plan that is made before it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penguin_ros.board_facts import BoardFacts, board_facts
from penguin_ros.board_memory.board_classes import class_of
from penguin_ros.board_memory.memory_plan import Room, shown
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError

ENGINES, KERNELS = 'tensorrt', 'cuda'


def memory(facts: BoardFacts | None = None) -> Iterator[Finding]:
    """Says what a Jetson has and which defaults follow from it; nothing of another machine."""
    facts = facts or board_facts()
    if facts.jetson is None:
        return
    found = facts.memory
    swap = f'{shown(found.swap_free)} of swap' if found.swap_total else 'no swap'
    pool = f'{shown(found.cma_free)} of contiguous memory' if found.cma_total else 'no pool (CMA)'
    board = class_of(found.total)
    sizes = board.sizes
    yield Finding(
        'memory',
        State.OK,
        f'{shown(found.available)} of {shown(found.total)} are available, {swap}, {pool} free: '
        f'defaults of a board of {board.gigabytes} GB, {sizes.precision}, {sizes.slots} KV slots '
        f'of {sizes.max_length}, {sizes.max_patches} patches',
    )


def bundle_memory(folder: str) -> Iterator[Finding]:
    """Prints the plan of a bundle for TensorRT or own kernels on a Jetson. Nothing of another
    bundle or machine, nor of a bundle that does not open, which is another check's finding.
    """
    from penguin_ros.backends.base.bundle import open_bundle
    from penguin_ros.backends.cuda import kernel_memory
    from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
    from penguin_ros.backends.tensorrt.engine_memory import bundle_plan
    from penguin_ros.config import ModelConfig

    facts = board_facts()
    try:
        opened = open_bundle(folder)
        engines = read_engine_manifest(Path(folder))
    except PenguinError:
        return
    if facts.jetson is None or opened.manifest.backend not in (ENGINES, KERNELS):
        return
    room = Room(facts.memory.total, facts.memory.available, True)
    if opened.manifest.backend == KERNELS:
        plan = kernel_memory.bundle_plan(opened, ModelConfig(), room)
    else:
        plan = bundle_plan(opened, engines, ModelConfig(), room)
    yield Finding(
        'memory of the bundle',
        State.OK if plan.fits else State.FAULT,
        f'{plan.numbers()}, {shown(room.available)} are available',
        ''
        if plan.fits
        else 'Stop other programs and the desktop, or build smaller engines; see '
        'penguin build --dry-run',
    )
    for line in plan.lines()[1:]:
        name, _, rest = line.strip().partition('  ')
        yield Finding(f'  {name}', State.OK, rest.strip())
