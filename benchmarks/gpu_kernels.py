# SPDX-License-Identifier: Apache-2.0
"""The kernels of this project on a GPU: is each right at the shapes of the published models, how
fast does it read weights, what does the whole network reach beside PyTorch in the same run, how
long does a cold start take.

One command, no network, well under ten minutes on a GPU with torch, triton and cuda-bindings; what
was found so far is written after each part. `--tiny` runs all of it on a machine without a GPU,
with a tiny network on a GPU that does not exist (`--interpreter`: kernels by Triton's interpreter,
else by numpy), to rehearse: its times mean nothing.

    python benchmarks/gpu_kernels.py --json gpu_kernels.json
    python benchmarks/gpu_kernels.py --tiny
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(Path(__file__).resolve().parent)]

import numpy as np
from gpu_agreement import compared
from gpu_kernel_cases import COLD_BYTES, DeviceCase, case_of, errors, in_float64, weight_bytes
from gpu_measures import TINY, Sizes, decoding, measures
from gpu_paths import GRAPHS, PLAIN, parity, sides_of

from penguin_ros.backends.base.backend import Backend, Chunk, Logits
from penguin_ros.benchmark.engine.model import open_target
from penguin_ros.benchmark.tasks import Target
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda.kernel_files import KernelOrder, kernels_of, write_kernels
from penguin_ros.export.precision import BuildChoice
from penguin_ros.kernels.ahead import compile_ahead
from penguin_ros.kernels.network import Formats, Network, network_of
from penguin_ros.testing.random_checkpoint import SHAPES, write_random_checkpoint

FULL = Sizes((100, 1000, 4000), 32, (4, 8, 16))
KERNELS = 'own kernels, int4'
LIMIT = 3e-3
"""The relative error that is right: of 16 bits, over a layer's sums."""


@dataclass
class Bench:
    """What all parts share: `target` is the compute capability, ten times as large; `folder` is for
    files; `record` is what was found.
    """

    is_tiny: bool
    target: int
    folder: Path
    compile: Callable[..., Any]
    golden: Path
    is_interpreted: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, str]:
        """The shapes by the name of the model."""
        return {'tiny': 'tiny'} if self.is_tiny else {'2B': '2b', '8B': '8b'}

    def network(self, shape: str) -> Network:
        """Returns the network of a shape in int4."""
        return network_of(SHAPES[SMALL if shape == 'tiny' else shape], Formats())


SMALL = 'tiny with heads of 16'


@contextmanager
def loaded(bench: Bench, network: Network) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Gives an open device, a launcher of the network's kernels, and the kernels."""
    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.backends.cuda.launcher import Launcher
    from penguin_ros.backends.cuda.modules import Modules

    kernels = kernels_of(network)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        begin = time.perf_counter()
        kernel_set = write_kernels(Path(folder), kernels, bench.compile(kernels, bench.target))
        bench.record.setdefault('compile s', []).append(time.perf_counter() - begin)
        device = CudaDevice()
        modules = Modules(kernel_set, bench.target, None)
        try:
            modules.load_all()
            yield device, Launcher(device, modules), kernels
        finally:
            modules.close()
            device.close()


def each_kernel(bench: Bench) -> None:
    """(a) and (b): errors against float64, and the rate at which weights are read."""
    for name, shape in bench.shapes.items():
        network, found = bench.network(shape), {}
        bench.record[f'kernels, {name}'] = found
        with loaded(bench, network) as (device, launch, kernels):
            copy_rate = _copy_rate(device, bench.is_tiny)
            bench.record['copy GB/s'] = copy_rate
            for kernel in kernels:
                repeats = 1 if bench.is_interpreted else 5
                found[kernel.name] = _one_kernel(
                    device, launch, kernel, network, (copy_rate, repeats)
                )
                print(name, kernel.name, found[kernel.name], flush=True)


def _one_kernel(
    device: Any, launch: Any, kernel: Any, network: Network, timing: tuple[float, int]
) -> dict[str, Any]:
    copy_rate, repeats = timing
    case = case_of(kernel, network, np.random.default_rng(0))
    size = weight_bytes(case)
    is_decode = size > 0 and kernel.name.startswith('one.')
    copies = min(64, -(-COLD_BYTES // size)) if is_decode and size > 1 << 20 else int(is_decode)
    placed = DeviceCase(device, launch, case, copies)
    try:
        placed.run()
        device.synchronize()
        error = errors(case, placed.read(), in_float64(case))
        result: dict[str, Any] = {'error': error, 'is right': error <= LIMIT}
        if copies:
            if repeats > 1:
                placed.run_all()
                device.synchronize()
            graph = device.capture(placed.run_all)
            seconds = (
                min(device.time(lambda: device.launch(graph)) for _ in range(repeats)) / copies
            )
            device.free(graph)
            rate = size / max(seconds, 1e-12) / 1e9
            result |= {'us': seconds * 1e6, 'GB/s': rate, 'share of copy': rate / copy_rate}
        return result
    finally:
        placed.free()


def _copy_rate(device: Any, is_tiny: bool) -> float:
    """GB/s of a copy, read and written, which the kernels are compared with."""
    size = (1 << 20) if is_tiny else (1 << 30)
    one, other = device.allocate(size), device.allocate(size)
    device.zero(one, size)
    device.copy(other, one, size)
    device.synchronize()
    seconds = min(device.time(lambda: device.copy(other, one, size)) for _ in range(5))
    device.free(one)
    device.free(other)
    return 2 * size / max(seconds, 1e-12) / 1e9


def whole_network(bench: Bench, checkpoint: Path, bundle: Path, rounds: int) -> None:
    """(c) and (d): passes of the whole network beside torch, and one schedule of reuse on both."""
    settings = dict(sides_of(bench.is_tiny)[0].settings)
    length = 256 if bench.is_tiny else 4352
    common = {'model.kv_slots': 2, 'model.max_length': length}
    if 'visual.max_visual_tokens' in settings:
        common['visual.max_visual_tokens'] = settings['visual.max_visual_tokens']
    targets = {KERNELS: Target(str(bundle), '', {**common, 'model.backend': 'cuda'})}
    for side in sides_of(bench.is_tiny):
        if side.name in (PLAIN, GRAPHS):
            targets[side.name] = Target(str(checkpoint), '', {**side.settings, **common})
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in targets}
    bench.record['whole network, ms'] = figures
    with ExitStack() as stack:
        opened = {}
        for name, target in targets.items():
            opened[name] = open_target(target)
            stack.callback(opened[name].backend.close)
        bench.record['way'] = opened[KERNELS].backend.description.way
        for number in (1,) if bench.is_interpreted else range(rounds + 1):
            for name, one in opened.items():
                for what, ms in passes_of(bench, one):
                    if number:
                        figures[name].setdefault(what, []).append(ms)
                print(f'round {number}, {name}', flush=True)
        again = open_target(targets[KERNELS])
        stack.callback(again.backend.close)
        alone = cast('Backend', RowByRow(again.backend))
        steps = 2 if bench.is_interpreted else 20 if bench.is_tiny else 300
        found = compared(opened[KERNELS].backend, alone, steps, 0.5)
        bench.record['schedule against row by row'] = vars(found)
        bench.record['prefill of 1,060 tokens, ms'] = {
            name: _prefill(
                one.backend, 20 if bench.is_tiny else 1060, 1 if bench.is_interpreted else 3
            )
            for name, one in opened.items()
        }
        bench.record['stats'] = dict(opened[KERNELS].backend.stats().counts)


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
    """(d): the reference's numbers."""
    if bench.is_tiny or not (bench.golden / 'checkpoint').is_dir():
        bench.record['golden parity'] = 'not run: see test/backends/cuda/test_backend_golden.py'
        return
    bundle = bench.folder / 'golden'
    order = BuildOrder(
        BuildChoice('cuda', 'float16'), 2048, kernels=KernelOrder((bench.target,), bench.compile)
    )
    build_bundle(open_checkpoint(bench.golden / 'checkpoint'), bundle, order)
    bench.record['golden parity'] = parity(bench.golden, ['--bundle', str(bundle)])


def cold_start(bench: Bench, bundle: Path) -> None:
    """(e): seconds to open with machine code, and with PTX that the driver compiles."""
    from penguin_ros.backends.base.bundle import open_bundle
    from penguin_ros.backends.cuda import opened_kernels
    from penguin_ros.backends.cuda.backend import CudaBackend
    from penguin_ros.config import ModelConfig

    found: dict[str, float] = {}
    bench.record['cold start, s'] = found
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
        backend.close()
    index.write_text(text)


def prepared(bench: Bench) -> tuple[Path, Path]:
    """Writes a random checkpoint and its int4 bundle; returns both."""
    shape = SMALL if bench.is_tiny else '2b'
    checkpoint = write_random_checkpoint(
        bench.folder / 'checkpoint', shape, dtype='float16' if bench.is_tiny else 'bfloat16'
    )
    begin = time.perf_counter()
    order = BuildOrder(
        BuildChoice('cuda', 'int4'),
        256 if bench.is_tiny else 4352,
        kernels=KernelOrder((bench.target,), bench.compile),
    )
    bundle = build_bundle(open_checkpoint(checkpoint), bench.folder / 'bundle', order)
    bench.record['build s'] = time.perf_counter() - begin
    return checkpoint, bundle


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
def machine_of(options: argparse.Namespace) -> Iterator[tuple[int, Callable[..., Any]]]:
    """Gives the GPU's compute capability, ten times as large, and what compiles kernels for it."""
    if not options.tiny:
        from penguin_ros.backends.cuda.device import CudaDevice

        device = CudaDevice()
        target = int(device.gpu.compute.replace('.', ''))
        device.close()
        yield target, compile_ahead
        return
    from support.fake_gpu import cuda_bundles
    from support.fake_gpu.installed import Machine, use
    from support.fake_gpu.interpreted import interpreting_gpu

    cuda_bundles.register_small_shape()
    with ExitStack() as stack:
        if options.interpreter:
            gpu = stack.enter_context(interpreting_gpu(512 * 1024 * 1024))
            use(Machine(gpu=gpu))
            short_passes()
        else:
            use(cuda_bundles.computing_machine())
        yield 87, cuda_bundles.stand_ins


def short_passes() -> None:
    """Makes passes of at most 64 rows."""
    from penguin_ros.backends.cuda import decoder, llm_passes

    llm_passes.ROW_COUNTS = (16, 64)
    llm_passes.WANTED_COUNTS = (0, 1, 16)
    for module in (llm_passes, decoder):
        module.MAX_ROWS, module.MAX_WANTED = 64, 16


def main() -> None:
    """Runs all parts; one that fails is told, and the others run."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', 1)[0])
    parser.add_argument('--tiny', action='store_true', help='rehearse without a GPU')
    parser.add_argument('--interpreter', action='store_true', help="with --tiny: Triton's")
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--golden', type=Path, default=ROOT.parent / 'shared' / 'golden')
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    begin, failed = time.monotonic(), []
    with machine_of(options) as (target, compiler), tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            options.tiny, target, Path(folder), compiler, options.golden, options.interpreter
        )
        checkpoint, bundle = prepared(bench)
        parts: dict[str, Callable[[], None]] = {
            'each kernel': lambda: each_kernel(bench),
            'whole network': lambda: whole_network(bench, checkpoint, bundle, options.rounds),
            'golden': lambda: golden(bench),
            'cold start': lambda: cold_start(bench, bundle),
        }
        for name, run in parts.items():
            start = time.monotonic()
            try:
                run()
            except Exception as error:  # the other parts are worth their time on a GPU
                bench.record[f'{name} failed'] = repr(error)
                failed.append(name)
                print(f'{name} failed: {error!r}', file=sys.stderr, flush=True)
            bench.record[f'{name}, s'] = time.monotonic() - start
            if options.json:
                options.json.write_text(json.dumps(bench.record, indent=1, default=str))
        report(bench.record)
    if options.tiny:
        print('no GPU: these times mean nothing')
    print(f'{time.monotonic() - begin:.0f} s in all')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
