# SPDX-License-Identifier: Apache-2.0
"""`penguin build`: turns a checkpoint into a bundle that a runtime other than PyTorch runs.

For TensorRT, or TensorRT for RTX where only that is installed, the engines are built too, on the
machine that will run them: at once, or later from the bundle.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.base.manifest import MANIFEST, ScalingSpec
from penguin_ros.backends.tensorrt.cache import STEP
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER, maker_of_engines
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.cli import exit_codes
from penguin_ros.cli.build_arguments import TENSORRT, add_options, fill_defaults
from penguin_ros.cli.build_dry_run import dry_run
from penguin_ros.cli.build_kernels import (
    CUDA,
    build_kernels_of,
    check_kernels,
    choose_decode,
    decode_of,
    kernel_order,
)
from penguin_ros.console import can_draw, print_line, progress_bar, status_line
from penguin_ros.errors import BackendUnavailable, BuildRefused, PenguinError
from penguin_ros.export.precision import BuildChoice
from penguin_ros.installation import install_command
from penguin_ros.libraries import remedy

if TYPE_CHECKING:
    from penguin_ros.export.build import BuildOrder, BundleBuilder
    from penguin_ros.export.tensorrt.build import EngineOptions

ENGINES_OF_A_BUNDLE = 2
"""Decoder and encoder."""

PLAN = '.plan'
ENGINES = Path('engines')
COMMAND_OPTIONS = (
    *('backend', 'precision', 'device', 'head', 'vision', 'compute'),
    *('block_size', 'max_length', 'head_parts', 'measure_range'),
)
"""The options that the command in the manifest repeats."""

EPILOG = """examples:
  penguin build ./Penguin-VL-2B --precision int4
  penguin build tencent/Penguin-VL-2B --backend tensorrt --precision int4 --max-length 2048 \\
      --out engines/orin
  penguin build ./Penguin-VL-2B --backend tensorrt --precision int4 --graphs-only --out engines/orin
  penguin build engines/orin --backend tensorrt
  penguin build tencent/Penguin-VL-2B --backend cuda --precision int4 --target sm_87 \\
      --out engines/orin
  penguin build tencent/Penguin-VL-2B --backend tensorrt --dry-run --board 8

int8 and int4 are formats of weights: activations stay float32 (float16 on a GPU). With int4, head
and encoder are int8 unless --head and --vision say otherwise; on a GPU the encoder is float16, and
for TensorRT the head is int4.
w8a8 rounds activations to int8 as well, each row by itself: a faster encoder and prefill on a CPU
(--vision w8a8 for the encoder alone), at a larger loss.

--backend tensorrt builds engines with TensorRT, which comes with JetPack; on a desktop without it
with TensorRT for RTX (cards RTX 20 to 50; on RTX 20 float16 and int8 only).
--backend cuda compiles own kernels with Triton, here, for GPUs that need not be here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Builds the bundle, which appears whole at the end or not at all, or the engines of one."""
    board = fill_defaults(arguments)
    if arguments.dry_run:
        return dry_run(arguments, board, _choice(arguments))
    if is_file(Path(arguments.checkpoint) / MANIFEST):
        return build_engines_of(Path(arguments.checkpoint), arguments)
    try:
        from penguin_ros.export.build import BundleBuilder
    except ImportError as error:
        raise BuildRefused(
            'bundles cannot be built here',
            f'importing {error.name} failed',
            remedy(error, 'onnx'),
        ) from error
    check_engines(arguments)
    check_kernels(arguments)
    check_golden(arguments)
    choice = _choice(arguments)
    checkpoint = open_checkpoint(arguments.checkpoint, progress=status_line)
    default = ENGINES / f'{Path(checkpoint.name).name}_{choice.backend}_{choice.precision}'
    folder = arguments.out or default
    builder = BundleBuilder(checkpoint, _order(arguments, choice, checkpoint, folder))
    if builder.max_length < arguments.max_length:
        status_line(
            f'KV slots get {builder.max_length} positions, the context of {checkpoint.name}'
        )
    for doubt in builder.doubts:
        status_line(doubt)
    start = time.monotonic()
    _build_bundle(builder, checkpoint, folder, arguments)
    if arguments.golden:
        add_golden(folder)
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print_line(
        f'{folder}: {checkpoint.name}, {choice.backend}, {choice.precision}, {size / 1e9:.2f} GB, '
        f'{time.monotonic() - start:.0f} s'
    )
    return exit_codes.DONE


def _measured_scaling(
    arguments: argparse.Namespace, choice: BuildChoice, checkpoint: Checkpoint, folder: Path
) -> Mapping[str, ScalingSpec]:
    """Returns the powers of two that keep the numbers of a recording inside float16."""
    from penguin_ros.evaluation.float16_range import check_range_is_needed, measure_range

    check_range_is_needed(choice)
    with progress_bar('measuring in float32', 1.0) as bar:
        found = measure_range(
            checkpoint,
            Path(arguments.measure_range),
            folder,
            arguments.threads,
            lambda stage, share: bar(share, stage),
        )
    for line in found.lines():
        status_line(line)
    return found.scaling


def check_engines(arguments: argparse.Namespace) -> None:
    """Raises BackendUnavailable or BuildRefused when engines cannot follow, before weights are
    converted for minutes: TensorRT is missing, or the GPU, or one does not take the other.
    """
    if not _wants_engines(arguments):
        return
    if arguments.max_length % STEP:
        raise BuildRefused(
            f'--max-length {arguments.max_length}',
            f'TensorRT needs a multiple of {STEP}',
            f'Take --max-length {-(-arguments.max_length // STEP) * STEP}',
        )
    from penguin_ros.export.tensorrt import engine_process

    try:
        engine_process.check_machine_apart(maker_of_engines(arguments.out) if arguments.out else '')
    except BackendUnavailable as error:
        raise BackendUnavailable(
            error.what,
            error.why,
            f'{error.fix}. Or add --graphs-only here, and on the machine that will '
            f'run them type: penguin build FOLDER --backend {TENSORRT}',
        ) from error


def check_golden(arguments: argparse.Namespace) -> None:
    """Raises BuildRefused where --golden makes no sense or ONNX Runtime is missing."""
    if not arguments.golden:
        return
    if arguments.backend != TENSORRT:
        raise BuildRefused(
            f'--golden with --backend {arguments.backend}',
            'it is what engines of TensorRT are compared with',
            f'Add --backend {TENSORRT}',
        )
    if importlib.util.find_spec('onnxruntime') is None:
        raise BuildRefused(
            '--golden needs ONNX Runtime, which computes it',
            'it is not installed here',
            f'Type: {install_command("onnxruntime")}; or leave --golden out',
        )


def add_golden(folder: Path) -> None:
    """Adds to a bundle what ONNX Runtime computes with its weights."""
    from penguin_ros.board.golden import write_golden

    status_line('ONNX Runtime computes what the engines will be compared with')
    write_golden(folder)


def build_engines_of(folder: Path, arguments: argparse.Namespace) -> int:
    """Builds those engines of a bundle that are missing or stale."""
    found = read_manifest(folder).backend
    if found == arguments.backend == CUDA:
        return build_kernels_of(folder, arguments)
    if found != TENSORRT or arguments.backend != TENSORRT:
        raise BuildRefused(
            f'{folder} is a bundle for {found} already',
            'of a bundle only engines of TensorRT and kernels of the backend cuda can be built',
            f'Add --backend {found}' if found in (TENSORRT, CUDA) else 'Name a checkpoint',
        )
    check_golden(arguments)
    choose_decode(folder, arguments)
    if arguments.golden:
        add_golden(folder)
    if arguments.target and read_manifest(folder).decode:
        build_kernels_of(folder, arguments)
    _build_engines(folder, arguments)
    print_line(f'{folder}: engines are built')
    return exit_codes.DONE


def keep_engines(folder: Path, staging: Path, arguments: argparse.Namespace) -> None:
    """Gives the bundle in `staging`, which will replace `folder`, the engines there: those that
    still fit are not built again.
    """
    if _wants_engines(arguments) and (folder / FOLDER).is_dir():
        shutil.copytree(folder / FOLDER, staging / FOLDER, copy_function=_linked)


def add_engines(folder: Path, arguments: argparse.Namespace) -> None:
    """Adds engines to a bundle that was just converted. It is kept when that fails, and the error
    says how to go on.
    """
    if not _wants_engines(arguments):
        return
    try:
        _build_engines(folder, arguments)
    except PenguinError as error:
        command = shlex.join(['penguin', 'build', str(folder), '--backend', TENSORRT])
        words = f'{error.fix}. ' if error.fix else ''
        kept = f'{words}The converted bundle is kept; to go on from there type: {command}'
        raise type(error)(error.what, error.why, kept) from error


def _wants_engines(arguments: argparse.Namespace) -> bool:
    return arguments.backend == TENSORRT and not arguments.graphs_only


def _choice(arguments: argparse.Namespace) -> BuildChoice:
    return BuildChoice(
        arguments.backend,
        arguments.precision,
        arguments.device,
        arguments.head,
        arguments.vision,
        arguments.compute,
        arguments.block_size,
    )


def _order(
    arguments: argparse.Namespace, choice: BuildChoice, checkpoint: Checkpoint, folder: Path
) -> BuildOrder:
    from penguin_ros.export.build import BuildOrder

    scaling: Mapping[str, ScalingSpec] = {}
    if arguments.measure_range:
        scaling = _measured_scaling(arguments, choice, checkpoint, folder)
    return BuildOrder(
        choice,
        arguments.max_length,
        arguments.head_parts,
        arguments.threads,
        _command(arguments, folder),
        scaling,
        kernels=kernel_order(arguments),
        decode=decode_of(arguments),
    )


def _command(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that builds the same bundle again, for the manifest."""
    words = ['penguin', 'build', arguments.checkpoint]
    for name in COMMAND_OPTIONS:
        value = getattr(arguments, name)
        if value != '':
            words += ['--' + name.replace('_', '-'), str(value)]
    words += ['--graphs-only'] if arguments.graphs_only else []
    for target in arguments.target:
        words += ['--target', f'sm_{target}']
    words += ['--kv', arguments.kv] if arguments.kv else []
    words += ['--decode', arguments.decode] if arguments.decode else []
    return shlex.join([*words, '--out', str(folder)])


def _build_bundle(
    builder: BundleBuilder, checkpoint: Checkpoint, folder: Path, arguments: argparse.Namespace
) -> None:
    with _progress(builder, checkpoint) as show:
        builder.build(folder, show, lambda staging: keep_engines(folder, staging, arguments))
    add_engines(folder, arguments)


@contextmanager
def _progress(
    builder: BundleBuilder, checkpoint: Checkpoint
) -> Iterator[Callable[[str, float], None]]:
    """Shows a bar with the stage and the time left on a terminal, and a line for each stage
    elsewhere.
    """
    needed = builder.estimate
    stages = ['']
    status_line(
        f'{checkpoint.name}: {needed.disk_bytes / 1e9:.2f} GB of disk, '
        f'{needed.memory_bytes / 1e9:.2f} GB of memory'
    )
    with progress_bar('building', 1.0) as bar:

        def show(stage: str, share: float) -> None:
            bar(share, stage)
            part = stage.partition(':')[0]
            if part != stages[-1]:
                stages.append(part)
                if not can_draw(sys.stderr):
                    status_line(part)

        yield show


def _build_engines(folder: Path, arguments: argparse.Namespace) -> None:
    from penguin_ros.export.tensorrt import engine_process

    started: list[str] = []
    with progress_bar('engines', ENGINES_OF_A_BUNDLE) as bar:

        def show(stage: str, fraction: float) -> None:
            part = stage.partition(':')[0]
            if part not in started:
                started.append(part)
            bar(min(len(started), ENGINES_OF_A_BUNDLE) - 1 + fraction, stage)

        engine_process.build_engines_apart(folder, _engine_options(arguments), show)


def _engine_options(arguments: argparse.Namespace) -> EngineOptions:
    from penguin_ros.export.tensorrt.build import EngineOptions

    return EngineOptions(
        arguments.max_rows,
        arguments.max_patches,
        arguments.variant,
        None if arguments.workspace is None else int(arguments.workspace * 1e9),
        arguments.timing_cache,
        arguments.force,
        arguments.forms,
    )


def _linked(source: str, target: str) -> None:
    """Copies a file that belongs to engines. Engines are gigabytes and never written to again, so
    they get a second name instead.
    """
    if source.endswith(PLAN):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
