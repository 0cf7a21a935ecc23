# SPDX-License-Identifier: Apache-2.0
"""`penguin build`: turns a checkpoint into a bundle that a runtime other than PyTorch runs.

For TensorRT, or TensorRT for RTX where only that is installed, the engines are built too, on the
machine that will run them: at once, or later from the bundle.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.base.manifest import MANIFEST
from penguin_ros.backends.tensorrt.cache import STEP
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER, maker_of_engines
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.cli import exit_codes
from penguin_ros.console import can_draw, print_line, progress_bar, status_line
from penguin_ros.errors import BackendUnavailable, BuildRefused
from penguin_ros.export import precision as formats
from penguin_ros.export.precision import BuildChoice
from penguin_ros.libraries import remedy

if TYPE_CHECKING:
    from penguin_ros.export.build import BuildOrder, BundleBuilder
    from penguin_ros.export.tensorrt.build import EngineOptions

TENSORRT = 'tensorrt'
ENGINES_OF_A_BUNDLE = 2
"""Decoder and encoder."""

PLAN = '.plan'
DEFAULT_PRECISION = {'onnxruntime': 'float32', 'tensorrt': 'float16'}
ENGINES = Path('engines')
COMMAND_OPTIONS = (
    *('backend', 'precision', 'device', 'head', 'vision', 'compute'),
    *('block_size', 'max_length', 'head_parts'),
)
"""The options that the command in the manifest repeats."""

EPILOG = """examples:
  penguin build ./Penguin-VL-2B --precision int4
  penguin build tencent/Penguin-VL-2B --backend tensorrt --precision int4 --max-length 2048 \\
      --out engines/orin
  penguin build ./Penguin-VL-2B --backend tensorrt --precision int4 --graphs-only --out engines/orin
  penguin build engines/orin --backend tensorrt

int8 and int4 are formats of weights: activations stay float32 (float16 on a GPU). With int4, head
and encoder are int8 unless --head and --vision say otherwise; on a GPU the encoder is float16.
w8a8 rounds activations to int8 as well, each row by itself: a faster encoder and prefill on a CPU
(--vision w8a8 for the encoder alone), at a larger loss.

--backend tensorrt builds engines with TensorRT, which comes with JetPack; on a desktop without it
with TensorRT for RTX (cards RTX 20 to 50; on RTX 20 float16 and int8 only)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        'checkpoint',
        help='folder or hub id of a published checkpoint; or a bundle whose engines to build',
    )
    parser.add_argument(
        '--backend',
        choices=formats.BACKENDS,
        default='onnxruntime',
        help='runtime that the bundle is for (default: onnxruntime)',
    )
    parser.add_argument(
        '--device',
        choices=formats.DEVICES,
        default='cpu',
        help='where ONNX Runtime will run it (default: cpu)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder of the bundle (default: engines/NAME_BACKEND_PRECISION)',
    )
    parser.add_argument(
        '--threads',
        type=int,
        default=0,
        metavar='N',
        help='threads of the conversion (default: all cores)',
    )
    _add_format_arguments(parser)
    _add_size_arguments(parser)
    group = parser.add_argument_group('TensorRT')
    _add_engine_arguments(group)
    _add_engine_sizes(group)


def _add_format_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--precision',
        choices=formats.PRECISIONS,
        default='',
        help='number format of the weights (default: onnxruntime float32, tensorrt float16)',
    )
    parser.add_argument(
        '--head',
        choices=formats.HEAD_PRECISIONS,
        default='',
        help="format of the LLM's last matrix",
    )
    parser.add_argument(
        '--vision',
        choices=formats.ENCODER_PRECISIONS,
        default='',
        help='format of the encoder and the projector',
    )
    parser.add_argument(
        '--compute',
        choices=formats.FLOATS,
        default='',
        help='format of the activations of an int8 or int4 bundle',
    )


def _add_size_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--block-size',
        type=int,
        choices=formats.BLOCK_SIZES,
        default=formats.DEFAULT_BLOCK_SIZE,
        help='int4 or int8 weights that share a scale (default: 128; 256 is faster on a CPU, at a '
        'larger loss)',
    )
    parser.add_argument(
        '--max-length',
        type=int,
        default=4096,
        metavar='N',
        help='most positions of a KV slot (default: 4096)',
    )
    parser.add_argument(
        '--head-parts',
        type=int,
        default=2,
        metavar='N',
        help='products that the last matrix is cut into (default: 2; take 4 where building an '
        'engine runs out of memory)',
    )


def _add_engine_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--graphs-only',
        action='store_true',
        help='build no engines: the machine that runs them will',
    )
    group.add_argument(
        '--variant',
        choices=('auto', 'window', 'two_part'),
        default='auto',
        help='form of the decoder (default: auto)',
    )
    group.add_argument(
        '--timing-cache',
        metavar='FILE',
        help="file that keeps timings; empty: none (default: in the user's cache)",
    )
    group.add_argument(
        '--force', action='store_true', help='also build engines that are up to date'
    )


def _add_engine_sizes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--max-rows',
        type=int,
        default=512,
        metavar='N',
        help='most positions of one prefill run (default: 512)',
    )
    group.add_argument(
        '--max-patches',
        type=int,
        default=4096,
        metavar='N',
        help='most patches of a frame (default: 4096)',
    )
    group.add_argument(
        '--workspace',
        type=float,
        default=0.0,
        metavar='GB',
        help='working memory of one layer (default: no limit)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Builds the bundle, which appears whole at the end or not at all, or the engines of one."""
    if (Path(arguments.checkpoint) / MANIFEST).is_file():
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
    choice = _choice(arguments)
    checkpoint = open_checkpoint(arguments.checkpoint, progress=status_line)
    default = ENGINES / f'{Path(checkpoint.name).name}_{choice.backend}_{choice.precision}'
    folder = arguments.out or default
    builder = BundleBuilder(checkpoint, _order(arguments, choice, folder))
    if builder.max_length < arguments.max_length:
        status_line(
            f'KV slots get {builder.max_length} positions, the context of {checkpoint.name}'
        )
    start = time.monotonic()
    _build_bundle(builder, checkpoint, folder, arguments)
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print_line(
        f'{folder}: {checkpoint.name}, {choice.backend}, {choice.precision}, {size / 1e9:.2f} GB, '
        f'{time.monotonic() - start:.0f} s'
    )
    return exit_codes.DONE


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
    from penguin_ros.export.tensorrt.build import fitting_machine

    try:
        made_by = maker_of_engines(arguments.out) if arguments.out else ''
        with fitting_machine(made_by):
            pass
    except BackendUnavailable as error:
        raise BackendUnavailable(
            error.what,
            error.why,
            f'{error.fix}. Or add --graphs-only here, and on the machine that will '
            f'run them type: penguin build FOLDER --backend {TENSORRT}',
        ) from error


def build_engines_of(folder: Path, arguments: argparse.Namespace) -> int:
    """Builds those engines of a bundle that are missing or stale."""
    found = read_manifest(folder).backend
    if found != TENSORRT or arguments.backend != TENSORRT:
        raise BuildRefused(
            f'{folder} is a bundle for {found} already',
            'of a bundle only engines of TensorRT can be built',
            'Name a checkpoint' if found != TENSORRT else f'Add --backend {TENSORRT}',
        )
    _build_engines(folder, arguments)
    print_line(f'{folder}: engines are built')
    return exit_codes.DONE


def add_engines(folder: Path, staging: Path, arguments: argparse.Namespace) -> None:
    """Adds engines to the bundle in `staging`, which will replace `folder`; engines there that are
    still up to date are kept.
    """
    if not _wants_engines(arguments):
        return
    if (folder / FOLDER).is_dir():
        shutil.copytree(folder / FOLDER, staging / FOLDER, copy_function=_linked)
    _build_engines(staging, arguments)


def _wants_engines(arguments: argparse.Namespace) -> bool:
    return arguments.backend == TENSORRT and not arguments.graphs_only


def _choice(arguments: argparse.Namespace) -> BuildChoice:
    return BuildChoice(
        arguments.backend,
        arguments.precision or DEFAULT_PRECISION[arguments.backend],
        arguments.device,
        arguments.head,
        arguments.vision,
        arguments.compute,
        arguments.block_size,
    )


def _order(arguments: argparse.Namespace, choice: BuildChoice, folder: Path) -> BuildOrder:
    from penguin_ros.export.build import BuildOrder

    return BuildOrder(
        choice,
        arguments.max_length,
        arguments.head_parts,
        arguments.threads,
        _command(arguments, folder),
    )


def _command(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that builds the same bundle again, for the manifest."""
    words = ['penguin', 'build', arguments.checkpoint]
    for name in COMMAND_OPTIONS:
        value = getattr(arguments, name)
        if value != '':
            words += ['--' + name.replace('_', '-'), str(value)]
    words += ['--graphs-only'] if arguments.graphs_only else []
    return shlex.join([*words, '--out', str(folder)])


def _build_bundle(
    builder: BundleBuilder, checkpoint: Checkpoint, folder: Path, arguments: argparse.Namespace
) -> None:
    with ExitStack() as bars:
        show = bars.enter_context(_progress(builder, checkpoint))

        def finish(staging: Path) -> None:
            bars.close()
            add_engines(folder, staging, arguments)

        builder.build(folder, show, finish)


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
    from penguin_ros.export.tensorrt.build import build_engines

    started: list[str] = []
    with progress_bar('engines', ENGINES_OF_A_BUNDLE) as bar:

        def show(stage: str, fraction: float) -> None:
            part = stage.partition(':')[0]
            if part not in started:
                started.append(part)
            bar(min(len(started), ENGINES_OF_A_BUNDLE) - 1 + fraction, stage)

        build_engines(folder, _engine_options(arguments), show)


def _engine_options(arguments: argparse.Namespace) -> EngineOptions:
    from penguin_ros.export.tensorrt.build import EngineOptions

    return EngineOptions(
        arguments.max_rows,
        arguments.max_patches,
        arguments.variant,
        int(arguments.workspace * 1e9),
        arguments.timing_cache,
        arguments.force,
    )


def _linked(source: str, target: str) -> None:
    """Copies a file that belongs to engines. Engines are gigabytes and never written to again, so
    they get a second name instead.
    """
    if source.endswith(PLAN):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
