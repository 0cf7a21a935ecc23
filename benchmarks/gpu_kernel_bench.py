# SPDX-License-Identifier: Apache-2.0
"""What the parts of `gpu_kernels.py` share, and its first part: each kernel by itself, how fast it
reads its weights and how far it lies from numpy in float64.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gpu_compiled import KeptKernels
from gpu_kernel_cases import COLD_BYTES, DeviceCase, case_of, errors, in_float64, weight_bytes
from gpu_parts import Record

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda.kernel_files import (
    ANY_CARD,
    KernelOrder,
    kernels_of,
    write_kernels,
)
from penguin_ros.export.precision import BuildChoice
from penguin_ros.kernels.network import Formats, Network, network_of
from penguin_ros.kernels.table import TARGETS
from penguin_ros.testing.random_checkpoint import SHAPES, write_random_checkpoint

LIMIT = 3e-3
"""The relative error that is right: of 16 bits, over a layer's sums."""

SMALL = 'tiny with heads of 16'


@dataclass
class Bench:
    """What all parts share: `compute` is the GPU's compute capability, ten times as large; `folder`
    is for files; `record` is what was found.
    """

    is_tiny: bool
    compute: int
    folder: Path
    compile: KeptKernels
    golden: Path
    is_interpreted: bool = False
    record: Record = field(default_factory=Record)
    _prepared: tuple[Path, Path] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose kernels are looked at, the more valuable first."""
        return ('tiny',) if self.is_tiny else ('2B', '8B')

    def network(self, model: str) -> Network:
        """Returns the network of a model in int4."""
        return network_of(SHAPES[SMALL if model == 'tiny' else model.lower()], Formats())

    @property
    def target(self) -> int:
        """What kernels are compiled for: this GPU, or any."""
        return self.compute if self.compute in TARGETS else ANY_CARD

    def prepare(self) -> None:
        """Does it before others ask for it."""
        self.prepared()

    def prepared(self) -> tuple[Path, Path]:
        """Writes a random checkpoint and its int4 bundle, once; returns both."""
        if self._prepared is None:
            begin = time.perf_counter()
            self._prepared = _written(self)
            self.note('checkpoint and bundle, s', time.perf_counter() - begin)
        return self._prepared

    def note(self, name: str, value: Any) -> None:
        """Adds to what was found, and writes it."""
        self.record.found[name] = value
        self.record.save()


def _written(bench: Bench) -> tuple[Path, Path]:
    shape = SMALL if bench.is_tiny else '2b'
    checkpoint = write_random_checkpoint(
        bench.folder / 'checkpoint', shape, dtype='float16' if bench.is_tiny else 'bfloat16'
    )
    order = BuildOrder(
        BuildChoice('cuda', 'int4'),
        256 if bench.is_tiny else 4352,
        kernels=KernelOrder((bench.target,), bench.compile),
    )
    return checkpoint, build_bundle(open_checkpoint(checkpoint), bench.folder / 'bundle', order)


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
        bench.note(f'compile, {len(kernels)} kernels, s', time.perf_counter() - begin)
        device = CudaDevice()
        modules = Modules(kernel_set, bench.compute, None)
        try:
            modules.load_all()
            yield device, Launcher(device, modules), kernels
        finally:
            modules.close()
            device.close()


def each_kernel(bench: Bench, model: str, is_decode: bool) -> None:
    """(a) and (b): errors against float64, and the rate at which weights are read; of the kernels
    that write text, or of the others.
    """
    network = bench.network(model)
    found = bench.record.found.setdefault(f'kernels, {model}', {})
    with loaded(bench, network) as (device, launch, kernels):
        copy_rate = _copy_rate(device, bench.is_tiny)
        bench.note('copy GB/s', copy_rate)
        timing = (copy_rate, 1 if bench.is_interpreted else 5)
        chosen = [one for one in kernels if one.name.startswith('one.') == is_decode]
        for kernel in sorted(chosen, key=lambda one: VALUE.get(one.name, len(VALUE))):
            found[kernel.name] = _one_kernel(device, launch, kernel, network, timing)
            bench.record.save()
            print(model, kernel.name, found[kernel.name], flush=True)


VALUE = {f'one.{name}': at for at, name in enumerate(('gated', 'head', 'down', 'qkv', 'output'))}
"""The largest products of a step first: they are most of its time."""


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


def compile_for(target: int, folder: Path, golden: Path) -> int:
    """Compiles all that a run on a GPU needs into a folder; returns how many kernels that were."""
    kept = KeptKernels(folder)
    networks = [network_of(SHAPES[name], Formats(table='bf16')) for name in ('2b', '8b')]
    networks += [network_of(SHAPES[name], Formats()) for name in ('2b', '8b')]
    if (golden / 'checkpoint').is_dir():
        shape = open_checkpoint(golden / 'checkpoint').shape
        for compute in ('fp16', 'fp32'):
            networks.append(network_of(shape, Formats(compute, 16, 16, 16, 'fp32')))
    for network in networks:
        kept(kernels_of(network), target)
    return kept.compiled
