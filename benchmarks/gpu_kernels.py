# SPDX-License-Identifier: Apache-2.0
"""The kernels of this project on a GPU: how fast do they read weights, is each right at the shapes
of the published models, what does the whole network reach beside PyTorch in the same run, how long
does a cold start take.

One command, no network, under ten minutes on a GPU with cuda-bindings, triton and torch. What is
worth most comes first, each part has a limit, and the file is complete after every figure.
`--compile-only DIR` compiles for a GPU that is elsewhere and needs none; with `--compiled DIR` no
compiler runs there. `--tiny` runs all of it on a machine without a GPU, with a tiny network on a
GPU that does not exist (`--interpreter`: kernels by Triton's interpreter, else by numpy), to
rehearse: its times mean nothing.

    python benchmarks/gpu_kernels.py --compile-only compiled --target 90
    python benchmarks/gpu_kernels.py --compiled compiled --json gpu_kernels.json
    python benchmarks/gpu_kernels.py --tiny
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(Path(__file__).resolve().parent)]

import numpy as np
from gpu_agreement import compared
from gpu_compiled import KeptKernels
from gpu_kernel_bench import Bench, compile_for, each_kernel
from gpu_measures import TINY, Sizes, decoding, measures
from gpu_parts import Part, Record, require, run_parts
from gpu_paths import GRAPHS, PLAIN, parity, sides_of

from penguin_ros.backends.base.backend import Backend, Chunk, Logits
from penguin_ros.benchmark.engine.model import open_target
from penguin_ros.benchmark.tasks import Target
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import PenguinError
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda.kernel_files import KernelOrder
from penguin_ros.export.precision import BuildChoice
from penguin_ros.kernels.table import TARGETS
from penguin_ros.settings import Value

FULL = Sizes((100, 1000, 4000), 32, (4, 8, 16))
KERNELS = 'own kernels, int4'


def whole_network(bench: Bench, rounds: int) -> None:
    """(c): passes of the whole network, own kernels first, then torch; each with a turn in each
    round.
    """
    figures: dict[str, dict[str, list[float]]] = {}
    bench.note('whole network, ms', figures)

    def one_round(name: str) -> None:
        for what, ms in passes_of(bench, opened[name]):
            # What the first found, which warms up, stands until there is a better one.
            kept = figures.setdefault(name, {}).setdefault(what, [])
            kept[:] = [ms] if name in warm else [*kept, ms]
            bench.record.save()
        warm.discard(name)
        print(f'{name}: {figures[name]}', flush=True)

    opened: dict[str, Any] = {}
    warm: set[str] = set()
    with ExitStack() as stack:
        for name, target in _targets(bench, *bench.prepared()).items():
            if _open(bench, name, target, opened):
                stack.callback(opened[name].backend.close)
                one_round(name)
                warm.add(name)
        bench.note('way', opened[KERNELS].backend.description.way)
        for _ in range(0 if bench.is_interpreted else rounds):
            for name in opened:
                one_round(name)
        count = 20 if bench.is_tiny else 1060
        for name, one in opened.items():
            prefilled = bench.record.found.setdefault(f'prefill of {count} tokens, ms', {})
            prefilled[name] = _prefill(one.backend, count, 1 if bench.is_interpreted else 3)
            bench.record.save()
        bench.note('stats', dict(opened[KERNELS].backend.stats().counts))


def _open(bench: Bench, name: str, target: Target, opened: dict[str, Any]) -> bool:
    """Opens a way to run the network; what else than own kernels does not open is left out."""
    try:
        opened[name] = open_target(target)
    except PenguinError as error:
        if name == KERNELS:
            raise
        bench.note(f'{name}: failed', str(error))
        return False
    return True


def _targets(bench: Bench, checkpoint: Path, bundle: Path) -> dict[str, Target]:
    sides = sides_of(bench.is_tiny)
    length = 256 if bench.is_tiny else 4352
    common: dict[str, Value] = {'model.kv_slots': 2, 'model.max_length': length}
    if 'visual.max_visual_tokens' in sides[0].settings:
        common['visual.max_visual_tokens'] = sides[0].settings['visual.max_visual_tokens']
    targets = {KERNELS: Target(str(bundle), '', {**common, 'model.backend': 'cuda'})}
    for side in sides:
        if side.name in (PLAIN, GRAPHS):
            targets[side.name] = Target(str(checkpoint), '', {**side.settings, **common})
    return targets


def schedule(bench: Bench) -> None:
    """(d): one schedule of reuse, drafts and branches against row by row."""
    target = _targets(bench, *bench.prepared())[KERNELS]
    with ExitStack() as stack:
        one, other = (open_target(target).backend for _ in range(2))
        for backend in (one, other):
            stack.callback(backend.close)
        steps = 2 if bench.is_interpreted else 20 if bench.is_tiny else 300
        found = compared(one, cast('Backend', RowByRow(other)), steps, 0.5)
        bench.note('schedule against row by row', vars(found))


def passes_of(bench: Bench, opened: Any) -> Iterator[tuple[str, float]]:
    """Yields the passes that are measured and their milliseconds; the interpreter, which takes a
    millisecond for a program, decodes only.
    """
    if bench.is_interpreted:
        return decoding(opened.backend, 12, Sizes((12,), 2, (4,)))
    return measures(opened, TINY if bench.is_tiny else FULL)


class RowByRow:
    """A backend that gets each row of a chunk alone: drafts and prefill must give the same."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend."""
        rows = [
            self._backend.forward(slot, Chunk(chunk.token_ids[index : index + 1]), [0])[0]
            for index in range(len(chunk.token_ids))
        ]
        return np.stack([rows[index] for index in logits_indices])


def _prefill(backend: Backend, count: int, repeats: int) -> float:
    """Returns the milliseconds of a prompt of text, the best of some."""
    ids = np.random.default_rng(1).integers(0, backend.description.vocabulary_size, count)
    slot, times = backend.new_slot(), []
    for _ in range(repeats):
        backend.truncate(slot, 0)
        begin = time.perf_counter()
        step = backend.description.prefill_chunk
        for start in range(0, count, step):
            backend.forward_greedy(slot, Chunk(ids[start : start + step]))
        times.append(1e3 * (time.perf_counter() - begin))
    backend.free_slot(slot)
    return min(times)


def golden(bench: Bench) -> None:
    """(d): the reference's numbers: in float32, where every choice must be the same, and in 16
    bits.
    """
    if bench.is_tiny or not (bench.golden / 'checkpoint').is_dir():
        bench.note('golden parity', 'not run: see test/backends/cuda/test_backend_golden.py')
        return
    checkpoint = open_checkpoint(bench.golden / 'checkpoint')
    for precision in ('float16', 'float32'):
        order = BuildOrder(
            BuildChoice('cuda', precision),
            2048,
            kernels=KernelOrder((bench.target,), bench.compile),
        )
        bundle = build_bundle(checkpoint, bench.folder / f'golden {precision}', order)
        words = parity(bench.golden, ['--bundle', str(bundle)], limit_s=60)
        bench.note(f'golden parity, {precision}', words)


def cold_start(bench: Bench, bundle: Path) -> None:
    """(e): seconds to open with machine code, and with PTX that the driver compiles."""
    from penguin_ros.backends.base.bundle import open_bundle
    from penguin_ros.backends.cuda import opened_kernels
    from penguin_ros.backends.cuda.backend import CudaBackend
    from penguin_ros.config import ModelConfig

    found: dict[str, float] = {}
    bench.note('cold start, s', found)
    config = ModelConfig(kv_slots=2, max_length=256, greedy_steps=1)
    opened_bundle = open_bundle(bundle)
    cache = bench.folder / 'compiled'
    opened_kernels.compiled_folder = lambda: cache
    index = bundle / 'kernels' / 'kernels.json'
    text = index.read_text()
    for name in ('machine code', 'PTX, compiled', 'PTX, kept'):
        if name != 'machine code':
            plain = json.loads(text)
            for kernel in plain['kernels']:
                for image in kernel['images']:
                    image['cubin'] = ''
            index.write_text(json.dumps(plain))
        begin = time.perf_counter()
        backend = CudaBackend(opened_bundle, config)
        backend.open()
        found[name] = time.perf_counter() - begin
        bench.record.save()
        backend.close()
    index.write_text(text)


def report(record: Mapping[str, Any]) -> None:
    """Prints the table of the whole network."""
    figures = record.get('whole network, ms', {})
    medians = {
        name: {what: float(np.median(values)) for what, values in passes.items()}
        for name, passes in figures.items()
    }
    print(f'\n| ms | {" | ".join(medians)} |\n|---|{"---|" * len(medians)}')
    for what in next(iter(medians.values()), {}):
        row = ' | '.join(f'{passes.get(what, float("nan")):.3f}' for passes in medians.values())
        print(f'| {what} | {row} |')
    rest = {name: value for name, value in record.items() if not name.startswith(('kern', 'whole'))}
    print(json.dumps(rest, indent=1, default=str))


@contextmanager
def machine_of(options: argparse.Namespace) -> Iterator[tuple[int, KeptKernels]]:
    """Gives the GPU's compute capability, ten times as large, and what compiles kernels."""
    if not options.tiny:
        from penguin_ros.backends.cuda.device import CudaDevice

        device = CudaDevice()
        target = int(device.gpu.compute.replace('.', ''))
        device.close()
        yield target, KeptKernels(options.compiled)
        return
    import pytest
    from support.fake_gpu import cuda_bundles
    from support.fake_gpu.installed import Machine, use
    from support.fake_gpu.interpreted import interpreting_gpu, short_passes

    cuda_bundles.register_small_shape()
    with ExitStack() as stack:
        if options.interpreter:
            gpu = stack.enter_context(interpreting_gpu(512 * 1024 * 1024))
            use(Machine(gpu=gpu))
            short_passes(stack.enter_context(pytest.MonkeyPatch.context()))
        else:
            use(cuda_bundles.computing_machine())
        yield 87, KeptKernels(None, cuda_bundles.stand_ins)


def parts_of(bench: Bench, rounds: int) -> list[Part]:
    """Returns the parts, the most valuable first."""
    kernels = partial(each_kernel, bench)
    first, *others = bench.models
    return [
        Part(f'kernels of a step, {first}', 150, lambda: kernels(first, True)),
        Part('checkpoint and bundle', 150, bench.prepare),
        Part('whole network', 240, lambda: whole_network(bench, rounds)),
        Part('schedule', 60, lambda: schedule(bench)),
        Part('golden', 100, lambda: golden(bench)),
        Part(f'other kernels, {first}', 150, lambda: kernels(first, False)),
        Part('cold start', 60, lambda: cold_start(bench, bench.prepared()[1])),
        *(
            Part(f'kernels of {what}, {model}', 150, partial(kernels, model, is_decode))
            for model in others
            for what, is_decode in (('a step', True), ('other passes', False))
        ),
    ]


def options_of() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', 1)[0])
    parser.add_argument('--tiny', action='store_true', help='rehearse without a GPU')
    parser.add_argument('--interpreter', action='store_true', help="with --tiny: Triton's")
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--minutes', type=float, default=9.0, help='for all parts (default: 9)')
    parser.add_argument('--golden', type=Path, default=ROOT.parent / 'shared' / 'golden')
    parser.add_argument('--json', type=Path, help='the file that is complete after every figure')
    parser.add_argument('--compiled', type=Path, metavar='DIR', help='kernels compiled elsewhere')
    parser.add_argument('--compile-only', type=Path, metavar='DIR', help='compile them, no more')
    parser.add_argument('--target', type=int, choices=TARGETS, default=90)
    return parser.parse_args()


NEEDED = {'cuda.bindings': 'pip install cuda-bindings'}
USEFUL = {'torch': 'there is nothing to compare the whole network with'}


def main() -> None:
    """Runs all parts; one that fails is told, and the others run."""
    options = options_of()
    if options.compile_only:
        count = compile_for(options.target, options.compile_only, options.golden)
        print(f'{options.compile_only}: {count} kernels compiled for sm_{options.target}')
        return
    begin, record = time.monotonic(), Record(options.json)
    if not options.tiny:
        triton = {} if options.compiled else {'triton': 'take --compiled DIR, or install it'}
        require({**NEEDED, **triton}, USEFUL, record)
    with machine_of(options) as (target, compiler), tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            options.tiny,
            target,
            Path(folder),
            compiler,
            options.golden,
            options.interpreter,
            record,
        )
        minutes = 60.0 if options.tiny else options.minutes
        parts = parts_of(bench, options.rounds)
        if options.tiny:
            parts = [replace(part, limit_s=60 * minutes) for part in parts]
        failed = run_parts(parts, record, minutes)
        report(record.found)
    if options.tiny:
        print('no GPU: these times mean nothing')
    print(f'{time.monotonic() - begin:.0f} s in all')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
