# SPDX-License-Identifier: Apache-2.0
"""`penguin build`: turns a checkpoint into a bundle that a runtime other than PyTorch runs. Knows
options, not graphs.

For TensorRT the engines are built too, on the machine that will run them: at once, or later from
the bundle.

The part of `penguin build` that is TensorRT's: its options, and engines for a bundle. Knows the
builder's front door only.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.tensorrt.cache import STEP
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER
from penguin_ros.backends.tensorrt.library import require_tensorrt
from penguin_ros.cli import exit_codes
from penguin_ros.console import print_line, progress_bar
from penguin_ros.errors import BackendUnavailable, BuildRefused

if TYPE_CHECKING:
    from penguin_ros.export.tensorrt.build import EngineOptions
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from penguin_ros.backends.base.manifest import MANIFEST
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.console import status_line
from penguin_ros.export.precision import (
    BACKENDS,
    BLOCK_SIZES,
    DEFAULT_BLOCK_SIZE,
    DEVICES,
    ENCODER_PRECISIONS,
    FLOATS,
    HEAD_PRECISIONS,
    PRECISIONS,
    BuildChoice,
)

if TYPE_CHECKING:
    from penguin_ros.export.build import BundleBuilder


BACKEND = 'tensorrt'
PARTS = 2
"""Engines of a bundle: decoder and encoder."""

PLAN = '.plan'


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of engines."""
    group = parser.add_argument_group('TensorRT')
    group.add_argument(
        '--graphs-only',
        action='store_true',
        help='build no engines: the machine that runs them will',
    )
    group.add_argument(
        '--max-rows',
        type=int,
        default=512,
        metavar='N',
        help='positions of one prefill run at most (512)',
    )
    group.add_argument(
        '--max-patches',
        type=int,
        default=4096,
        metavar='N',
        help='patches of a frame at most (4096)',
    )
    group.add_argument(
        '--variant',
        choices=('auto', 'window', 'two_part'),
        default='auto',
        help='form of the decoder (auto)',
    )
    group.add_argument(
        '--workspace',
        type=float,
        default=0.0,
        metavar='GB',
        help='working memory of one layer (no limit)',
    )
    group.add_argument(
        '--timing-cache',
        metavar='FILE',
        help="where timings are kept; empty: nowhere (the user's cache)",
    )
    group.add_argument('--force', action='store_true', help='build engines that fit already, too')


def check_engines(arguments: argparse.Namespace) -> None:
    """Before weights are converted for minutes: whether engines can follow. BackendUnavailable,
    BuildRefused.
    """
    if arguments.backend != BACKEND or arguments.graphs_only:
        return
    if arguments.max_length % STEP:
        raise BuildRefused(
            f'--max-length {arguments.max_length}',
            f'TensorRT needs a multiple of {STEP}',
            f'Take --max-length {-(-arguments.max_length // STEP) * STEP}',
        )
    try:
        require_tensorrt()
    except BackendUnavailable as error:
        raise BackendUnavailable(
            error.what,
            error.why,
            f'{error.fix}. Or add --graphs-only here, and on the machine that will '
            f'run them type: penguin build FOLDER --backend {BACKEND}',
        ) from error


def build_engines_of(folder: Path, arguments: argparse.Namespace) -> int:
    """Builds the engines of a bundle that lack or are stale."""
    found = read_manifest(folder).backend
    if found != BACKEND or arguments.backend != BACKEND:
        raise BuildRefused(
            f'{folder} is a bundle for {found} already',
            'of a bundle only engines of TensorRT can be built',
            'Name a checkpoint' if found != BACKEND else f'Add --backend {BACKEND}',
        )
    _build(folder, arguments)
    print_line(f'{folder}: engines are built')
    return exit_codes.DONE


def add_engines(folder: Path, draft: Path, arguments: argparse.Namespace) -> None:
    """Engines for the bundle in `draft`, which will stand in `folder`; those there that still fit
    are kept.
    """
    if arguments.backend != BACKEND or arguments.graphs_only:
        return
    if (folder / FOLDER).is_dir():
        shutil.copytree(folder / FOLDER, draft / FOLDER, copy_function=_linked)
    _build(draft, arguments)


def _linked(source: str, target: str) -> None:
    """Plans are gigabytes and never written to again: a second name will do."""
    if source.endswith(PLAN):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _build(folder: Path, arguments: argparse.Namespace) -> None:
    from penguin_ros.export.tensorrt.build import build_engines

    finished: list[str] = []
    with progress_bar('engines', PARTS) as bar:

        def show(stage: str, fraction: float) -> None:
            part = stage.partition(':')[0]
            if part not in finished:
                finished.append(part)
            bar(min(len(finished), PARTS) - 1 + fraction, stage)

        build_engines(folder, _options(arguments), show)


def _options(arguments: argparse.Namespace) -> EngineOptions:
    from penguin_ros.export.tensorrt.build import EngineOptions

    return EngineOptions(
        arguments.max_rows,
        arguments.max_patches,
        arguments.variant,
        int(arguments.workspace * 1e9),
        arguments.timing_cache,
        arguments.force,
    )


DEFAULT_PRECISION = {'onnxruntime': 'float32', 'tensorrt': 'float16'}
ENGINES = Path('engines')

EPILOG = """examples:
  penguin build ./Penguin-VL-2B --precision int4
  penguin build tencent/Penguin-VL-2B --backend tensorrt --precision int4 --max-length 2048 --out engines/orin
  penguin build ./Penguin-VL-2B --backend tensorrt --precision int4 --graphs-only --out engines/orin
  penguin build engines/orin --backend tensorrt

int8 and int4 are formats of weights: activations stay float32 (float16 on a GPU). Of int4, head and encoder are int8
unless --head and --vision say otherwise; on a GPU the encoder is float16. w8a8 rounds activations to int8 as well, each
row by itself: a faster encoder and prefill on a CPU (--vision w8a8 for the encoder alone), at a larger loss."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        'checkpoint',
        help='folder or hub id of a published checkpoint; or a bundle, whose engines to build',
    )
    parser.add_argument(
        '--backend',
        choices=BACKENDS,
        default='onnxruntime',
        help='what will run the bundle (onnxruntime)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='',
        help='number format of the weights (onnxruntime: float32, tensorrt: float16)',
    )
    parser.add_argument(
        '--device', choices=DEVICES, default='cpu', help='where ONNX Runtime will run it (cpu)'
    )
    parser.add_argument(
        '--head', choices=HEAD_PRECISIONS, default='', help="format of the LLM's last matrix"
    )
    parser.add_argument(
        '--vision', choices=ENCODER_PRECISIONS, default='', help='format of encoder and projector'
    )
    parser.add_argument(
        '--compute',
        choices=FLOATS,
        default='',
        help='format of activations of an int8 or int4 bundle',
    )
    parser.add_argument(
        '--block-size',
        type=int,
        choices=BLOCK_SIZES,
        default=DEFAULT_BLOCK_SIZE,
        help='weights of int4 and int8 that share a scale (128; 256 is faster on a CPU, at a larger loss)',
    )
    parser.add_argument(
        '--max-length',
        type=int,
        default=4096,
        metavar='N',
        help='positions per KV slot at most (4096)',
    )
    parser.add_argument(
        '--head-parts',
        type=int,
        default=2,
        metavar='N',
        help='products that the last matrix is cut into (2; 4 where building an engine runs out of memory)',
    )
    parser.add_argument(
        '--threads', type=int, default=0, metavar='N', help='threads of the conversion (all cores)'
    )
    add_engine_arguments(parser)
    parser.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder of the bundle (engines/NAME_BACKEND_PRECISION)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Builds; the bundle appears whole at the end or not at all."""
    if (Path(arguments.checkpoint) / MANIFEST).is_file():
        return build_engines_of(Path(arguments.checkpoint), arguments)
    check_engines(arguments)
    try:
        from penguin_ros.export.build import BuildOrder, BundleBuilder
    except ImportError as error:
        raise BuildRefused(
            'bundles cannot be built here',
            f'importing {error.name} failed',
            'Type: pip install onnx',
        ) from error
    choice = BuildChoice(
        arguments.backend,
        arguments.precision or DEFAULT_PRECISION[arguments.backend],
        arguments.device,
        arguments.head,
        arguments.vision,
        arguments.compute,
        arguments.block_size,
    )
    checkpoint = open_checkpoint(arguments.checkpoint, progress=status_line)
    folder = (
        arguments.out
        or ENGINES / f'{Path(checkpoint.name).name}_{choice.backend}_{choice.precision}'
    )
    order = BuildOrder(
        choice,
        arguments.max_length,
        arguments.head_parts,
        arguments.threads,
        _command(arguments, folder),
    )
    builder = BundleBuilder(checkpoint, order)
    if builder.max_length < arguments.max_length:
        status_line(
            f'KV slots get {builder.max_length} positions, the context of {checkpoint.name}'
        )
    start = time.monotonic()
    with ExitStack() as bars:
        show = bars.enter_context(_progress(builder, checkpoint))

        def finish(draft: Path) -> None:
            bars.close()
            add_engines(folder, draft, arguments)

        builder.build(folder, show, finish)
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print_line(
        f'{folder}: {checkpoint.name}, {choice.backend}, {choice.precision}, {size / 1e9:.2f} GB, '
        f'{time.monotonic() - start:.0f} s'
    )
    return exit_codes.DONE


def _command(arguments: argparse.Namespace, folder: Path) -> str:
    """What builds the same again, for the manifest."""
    words = ['penguin', 'build', arguments.checkpoint]
    for name in (
        'backend',
        'precision',
        'device',
        'head',
        'vision',
        'compute',
        'block_size',
        'max_length',
        'head_parts',
    ):
        value = getattr(arguments, name)
        if value != '':
            words += ['--' + name.replace('_', '-'), str(value)]
    words += ['--graphs-only'] if arguments.graphs_only else []
    return shlex.join([*words, '--out', str(folder)])


@contextmanager
def _progress(
    builder: BundleBuilder, checkpoint: Checkpoint
) -> Iterator[Callable[[str, float], None]]:
    """A bar with stage and time left on a terminal; elsewhere a line per stage."""
    needed, done, stages = builder.estimate, 0.0, ['']
    status_line(
        f'{checkpoint.name}: {needed.disk_bytes / 1e9:.2f} GB of disk, {needed.memory_bytes / 1e9:.2f} GB of memory'
    )
    with progress_bar('building', needed.work) as bar:

        def show(stage: str, work: float) -> None:
            nonlocal done
            done += work
            bar(done, stage)
            part = stage.partition(':')[0]
            if part != stages[-1]:
                stages.append(part)
                if not sys.stderr.isatty():
                    status_line(part)

        yield show
