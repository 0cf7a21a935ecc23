# SPDX-License-Identifier: Apache-2.0
"""`penguin build --dry-run`: what running and building a model take of a board's memory, before
anything is downloaded, converted or loaded.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.base.manifest import DECODER, ENCODER, MANIFEST, PrecisionSpec
from penguin_ros.backends.cuda.kernel_memory import StoredBytes, kernel_plan
from penguin_ros.backends.cuda.kernel_set import kernel_formats
from penguin_ros.backends.tensorrt.engine_memory import bundle_sizes
from penguin_ros.board_facts import memory_facts
from penguin_ros.board_memory.board_classes import CLASSES, BoardClass
from penguin_ros.board_memory.memory_plan import (
    MemoryPlan,
    Room,
    build_plan,
    changes,
    fitting_sizes,
    run_plan,
    shown,
)
from penguin_ros.board_memory.needs import ModelSizes, RunSizes
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.published_shapes import published_shape
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.cli import exit_codes
from penguin_ros.cli.build_kernels import KEPT, decode_of
from penguin_ros.console import print_line, status_line
from penguin_ros.errors import BuildRefused, NotEnoughSpace
from penguin_ros.export.precision import BuildChoice, plan_precision
from penguin_ros.export.resources import planned_sizes
from penguin_ros.kernels.network import network_of

TABLE, TABLE_BYTES = 'BF16', 2
"""The format of published embedding tables."""


def dry_run(arguments: argparse.Namespace, board: BoardClass | None, choice: BuildChoice) -> int:
    """Prints the plans of running and of building for `board`, or a line for each class of boards
    where there is none. NotEnoughSpace, with the sizes that would fit, when one does not fit.
    """
    if choice.backend not in ('tensorrt', 'cuda'):
        raise BuildRefused(
            'there is no plan of memory',
            f'it is made for engines of TensorRT and for own kernels, not for {choice.backend}',
            'Add --backend tensorrt or --backend cuda',
        )
    name = Path(arguments.checkpoint.rstrip('/')).name
    if choice.backend == 'cuda':
        return _kernels(arguments, board, choice, name)
    model = _model(arguments, choice)
    if board is None:
        for one in CLASSES:
            _print_line(name, one, model, _sizes(arguments, one))
        return exit_codes.DONE
    run, room = _sizes(arguments, board), _room(arguments, board)
    where = f'{name} on a board of {board.gigabytes} GB'
    plans = [run_plan(f'running {where}', model, run, room)]
    for part in (DECODER, ENCODER):
        plans.append(build_plan(f'building the {part} of {name}', part, model, run, room))
    for plan in plans:
        print_line('\n'.join(plan.lines()))
    _refuse(where, plans, model, run)
    return exit_codes.DONE


def _kernels(
    arguments: argparse.Namespace, board: BoardClass | None, choice: BuildChoice, name: str
) -> int:
    """Prints the plans of running own kernels, which are compiled elsewhere."""
    shape = _shape(arguments.checkpoint)
    precision = plan_precision(choice)
    network = network_of(
        shape,
        kernel_formats(
            PrecisionSpec(
                compute=precision.compute,
                linears=precision.linears,
                head=precision.head,
                vision=precision.encoder,
                block_size=precision.block_size,
                cache=KEPT[arguments.kv or '16'],
            ),
            TABLE,
        ),
    )
    sizes = planned_sizes(shape, choice, 1)
    table = shape.vocabulary_size * network.llm.hidden * TABLE_BYTES
    stored = StoredBytes(sizes.decoder_bytes + sizes.encoder_bytes, table)
    plans = []
    for one in [board] if board is not None else CLASSES:
        run, room = _sizes(arguments, one), _room_of(arguments, one, board)
        plan = kernel_plan(f'running {name}, {one.gigabytes} GB', network, stored, run, room)
        plans.append(plan)
        verdict = 'fits' if plan.fits else 'does not fit'
        taken = f'{plan.title} takes {shown(plan.needed)}, {shown(room.available)} are available'
        print_line('\n'.join(plan.lines()) if board is not None else f'{taken}: {verdict}')
    if board is not None and not plans[0].fits:
        raise NotEnoughSpace(
            f'{name} on a board of {board.gigabytes} GB does not fit',
            f'{plans[0].numbers()}, {shown(plans[0].room.available)} are available',
            'Lower --max-length, take --kv int8 or a smaller model',
            plans[0].needed,
            plans[0].room.available,
        )
    return exit_codes.DONE


def _model(arguments: argparse.Namespace, choice: BuildChoice) -> ModelSizes:
    """The sizes of what is there, a bundle with its own formats and length, or of what would be
    built.
    """
    folder = Path(arguments.checkpoint)
    if not (folder / MANIFEST).is_file():
        shape = _shape(arguments.checkpoint)
        planned = planned_sizes(shape, choice, arguments.head_parts)
        if not decode_of(arguments):
            return planned
        # Kernels read the LLM's weights in a form of their own, and the embedding table.
        weights = planned_sizes(shape, replace(choice, backend='cuda'), 1).decoder_bytes
        table = shape.vocabulary_size * shape.llm.hidden_size * TABLE_BYTES
        return replace(planned, kernel_bytes=weights + table)
    manifest = read_manifest(folder)
    arguments.max_length = manifest.max_length
    return bundle_sizes(manifest)


def _shape(source: str) -> CheckpointShape:
    """The shape of a checkpoint that is here, or of a published one by its name."""
    known = None if Path(source).exists() else published_shape(source)
    return known or open_checkpoint(source, progress=status_line).shape


def _sizes(arguments: argparse.Namespace, board: BoardClass) -> RunSizes:
    return RunSizes(
        board.sizes.slots, arguments.max_length, arguments.max_rows, arguments.max_patches
    )


def _room_of(arguments: argparse.Namespace, one: BoardClass, board: BoardClass | None) -> Room:
    if board is not None:
        return _room(arguments, board)
    return Room(one.total_bytes, one.available_bytes, True)


def _room(arguments: argparse.Namespace, board: BoardClass) -> Room:
    """A named board has what such boards have after booting; this one what is free now."""
    if arguments.board is not None:
        return Room(board.total_bytes, board.available_bytes, True)
    memory = memory_facts()
    return Room(memory.total, memory.available, True)


def _print_line(name: str, board: BoardClass, model: ModelSizes, run: RunSizes) -> None:
    room = Room(board.total_bytes, board.available_bytes, True)
    plans = [run_plan('', model, run, room)]
    plans += [build_plan('', part, model, run, room) for part in (DECODER, ENCODER)]
    needed = [shown(plan.needed) for plan in plans]
    verdict = 'fits' if all(plan.fits for plan in plans) else 'does not fit'
    print_line(
        f'{name}, {board.gigabytes:3} GB: running takes {needed[0]}, building {needed[1]} and '
        f'{needed[2]}, {shown(room.available)} are available: {verdict}'
    )


def _refuse(where: str, plans: list[MemoryPlan], model: ModelSizes, run: RunSizes) -> None:
    lacking = [plan for plan in plans if not plan.fits]
    if not lacking:
        return
    plan = lacking[0]
    fitting = fitting_sizes(model, run, plan.room)
    others = [plan for plan in lacking if plan is not plans[0]]
    if fitting is None:
        fix = 'No sizes would fit: take a smaller model, or a board with more memory'
    elif others:
        fix = 'Build its engines with more memory free, or take a smaller model'
    else:
        fix = f'This would fit: {changes(run, fitting)}'
    raise NotEnoughSpace(
        f'{where} does not fit',
        f'{plan.title}: {plan.numbers()}, {shown(plan.room.available)} are available',
        fix,
        plan.needed,
        plan.room.available,
    )
