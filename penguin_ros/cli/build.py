# SPDX-License-Identifier: Apache-2.0
"""`penguin build`: turns a checkpoint into a bundle that a runtime other than PyTorch runs. Knows options, not graphs.

For TensorRT the engines are built too, on the machine that will run them: at once, or later from the bundle.
"""
from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.bundle_manifest import MANIFEST
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.cli import exits
from penguin_ros.cli.build_engines import add_engine_arguments, add_engines, build_engines_of, check_engines
from penguin_ros.cli.terminal import print_line, progress_bar, status_line
from penguin_ros.errors import BuildRefused
from penguin_ros.export.precision import (
    BACKENDS,
    BLOCK_SIZES,
    DEFAULT_BLOCK_SIZE,
    DEVICES,
    FLOATS,
    HEAD_PRECISIONS,
    PRECISIONS,
    VISION_PRECISIONS,
    BuildChoice,
)

if TYPE_CHECKING:
    from penguin_ros.export.build import BundleBuilder

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
    parser.add_argument('checkpoint', help='folder or hub id of a published checkpoint; or a bundle, whose engines to build')
    parser.add_argument('--backend', choices=BACKENDS, default='onnxruntime', help='what will run the bundle (onnxruntime)')
    parser.add_argument('--precision', choices=PRECISIONS, default='',
                        help='number format of the weights (onnxruntime: float32, tensorrt: float16)')
    parser.add_argument('--device', choices=DEVICES, default='cpu', help='where ONNX Runtime will run it (cpu)')
    parser.add_argument('--head', choices=HEAD_PRECISIONS, default='', help='format of the LLM\'s last matrix')
    parser.add_argument('--vision', choices=VISION_PRECISIONS, default='', help='format of encoder and projector')
    parser.add_argument('--compute', choices=FLOATS, default='', help='format of activations of an int8 or int4 bundle')
    parser.add_argument('--block-size', type=int, choices=BLOCK_SIZES, default=DEFAULT_BLOCK_SIZE,
                        help='weights of int4 and int8 that share a scale (128; 256 is faster on a CPU, at a larger loss)')
    parser.add_argument('--max-length', type=int, default=4096, metavar='N', help='positions per KV slot at most (4096)')
    parser.add_argument('--head-parts', type=int, default=2, metavar='N',
                        help='products that the last matrix is cut into (2; 4 where building an engine runs out of memory)')
    parser.add_argument('--threads', type=int, default=0, metavar='N', help='threads of the conversion (all cores)')
    add_engine_arguments(parser)
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of the bundle (engines/NAME_BACKEND_PRECISION)')


def run(arguments: argparse.Namespace) -> int:
    """Builds; the bundle appears whole at the end or not at all."""
    if (Path(arguments.checkpoint) / MANIFEST).is_file():
        return build_engines_of(Path(arguments.checkpoint), arguments)
    check_engines(arguments)
    try:
        from penguin_ros.export.build import BuildOrder, BundleBuilder
    except ImportError as error:
        raise BuildRefused('bundles cannot be built here', f'importing {error.name} failed', 'Type: pip install onnx') from error
    choice = BuildChoice(arguments.backend, arguments.precision or DEFAULT_PRECISION[arguments.backend], arguments.device,
                         arguments.head, arguments.vision, arguments.compute, arguments.block_size)
    checkpoint = open_checkpoint(arguments.checkpoint, progress=status_line)
    folder = arguments.out or ENGINES / f'{Path(checkpoint.name).name}_{choice.backend}_{choice.precision}'
    order = BuildOrder(choice, arguments.max_length, arguments.head_parts, arguments.threads, _command(arguments, folder))
    builder = BundleBuilder(checkpoint, order)
    if builder.max_length < arguments.max_length:
        status_line(f'KV slots get {builder.max_length} positions, the context of {checkpoint.name}')
    start = time.monotonic()
    with ExitStack() as bars:
        show = bars.enter_context(_progress(builder, checkpoint))

        def finish(draft: Path) -> None:
            bars.close()
            add_engines(folder, draft, arguments)

        builder.build(folder, show, finish)
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print_line(f'{folder}: {checkpoint.name}, {choice.backend}, {choice.precision}, {size / 1e9:.2f} GB, '
               f'{time.monotonic() - start:.0f} s')
    return exits.DONE


def _command(arguments: argparse.Namespace, folder: Path) -> str:
    """What builds the same again, for the manifest."""
    words = ['penguin', 'build', arguments.checkpoint]
    for name in ('backend', 'precision', 'device', 'head', 'vision', 'compute', 'block_size', 'max_length', 'head_parts'):
        value = getattr(arguments, name)
        if value != '':
            words += ['--' + name.replace('_', '-'), str(value)]
    words += ['--graphs-only'] if arguments.graphs_only else []
    return shlex.join([*words, '--out', str(folder)])


@contextmanager
def _progress(builder: BundleBuilder, checkpoint: Checkpoint) -> Iterator[Callable[[str, float], None]]:
    """A bar with stage and time left on a terminal; elsewhere a line per stage."""
    needed, done, stages = builder.estimate, 0.0, ['']
    status_line(f'{checkpoint.name}: {needed.disk_bytes / 1e9:.2f} GB of disk, {needed.memory_bytes / 1e9:.2f} GB of memory')
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
