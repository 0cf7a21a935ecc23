# SPDX-License-Identifier: Apache-2.0
"""The backends that the contract test runs over, and random inputs for any of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from penguin_ros.backends.base.backend import (
    Backend,
    BackendDescription,
    Chunk,
    Features,
    FeatureSpan,
)
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.base.manifest import FULL, TWO_PART
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches
from penguin_ros.testing.random_checkpoint import write_random_checkpoint
from penguin_ros.testing.scripted_backend import ScriptedBackend

CONFIG = ModelConfig(
    device='cpu',
    precision='float32',
    max_length=64,
    kv_slots=3,
    prefill_chunk=256,
    encode_patches=4096,
    threads=1,
)


HALF_ROUNDING = 5e-2
"""One row has activations in float32, several rows, and engines, in float16. Of 1,860 positions of
random prompts, rows one by one and all at once differed by 2.9 % at most (median of each prompt's
largest: 0.9 %), where they were 1.3 and 1.8 % from torch in float32: the small random network makes
much of little at some places. What goes to a wrong place differs by all of it.
"""


@dataclass(frozen=True)
class Kind:
    """One backend: `make` gives a new one, not open; equal computations along other ways agree to
    `tolerance` (relative).

    `can_slice`: an encode step can be less than a frame.
    """

    make: Callable[[ModelConfig], Backend]
    tolerance: float
    can_slice: bool = True

    def assert_equal(self, got: np.ndarray, expected: np.ndarray) -> None:
        """Asserts the same shape, and a difference that is small against the whole."""
        assert got.shape == expected.shape
        assert np.linalg.norm(got - expected) <= self.tolerance * np.linalg.norm(expected)


def torch_kind(folder: Path) -> Kind:
    """Returns torch on a tiny random checkpoint written to `folder`."""
    pytest.importorskip('torch', reason='torch is not installed')
    checkpoint = open_checkpoint(write_random_checkpoint(folder))
    return Kind(lambda config: TorchBackend(checkpoint, config), 1e-4)


def torch_graphs_kind(folder: Path) -> Kind:
    """Returns torch whose passes are recorded and replayed, by a stand-in for CUDA graphs."""
    pytest.importorskip('torch', reason='torch is not installed')
    from support.torch_graphs import recording_backend

    checkpoint = open_checkpoint(write_random_checkpoint(folder))
    return Kind(lambda config: recording_backend(checkpoint, config), 1e-4)


def onnx_kind(folder: Path, variant: str) -> Kind:
    """Returns ONNX Runtime on a bundle of the same checkpoint, with the LLM's graph of a
    variant.
    """
    onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    from penguin_ros.backends.onnxruntime.library import OLDEST_IN_PLACE, version_of
    from penguin_ros.export.build import BuildOrder, build_bundle

    if variant == FULL and version_of(onnxruntime) < OLDEST_IN_PLACE:
        pytest.skip(f'onnxruntime {onnxruntime.__version__} cannot write to a cache in place')
    checkpoint = open_checkpoint(write_random_checkpoint(folder))
    bundle = open_bundle(build_bundle(checkpoint, folder.with_name('bundle'), BuildOrder()))
    return Kind(lambda config: OnnxBackend(bundle, config, variant), 1e-4)


def onnx_device_kind(folder: Path, variant: str) -> Kind:
    """Returns the same as it runs on a GPU, with the host's memory as the device's; slots are laid
    out anew after 16 and 32 positions, and every shape that comes again is captured.
    """
    kind = onnx_kind(folder, variant)
    from support.onnx_device import DeviceOnnxBackend

    from penguin_ros.backends.onnxruntime import device_cache

    bundle = open_bundle(folder.with_name('bundle'))

    def make(config: ModelConfig) -> Backend:
        return ShortLengths(bundle, config, variant)

    class ShortLengths(DeviceOnnxBackend):
        def open(self) -> BackendDescription:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(device_cache, 'SHORTEST', 16)
                return super().open()

    return Kind(make, kind.tolerance, can_slice=False)


def tensorrt_kind(folder: Path, version: str) -> Kind:
    """Returns TensorRT of a version that is not installed, on a GPU that does not exist: the graphs
    run in ONNX Runtime, strictly watched.
    """
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.installed import Machine, use

    from penguin_ros.backends.tensorrt.backend import TensorrtBackend
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.precision import BuildChoice
    from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

    machine, checkpoint = Machine(version), open_checkpoint(write_random_checkpoint(folder))
    use(machine)
    order = BuildOrder(BuildChoice('tensorrt', 'float32'), max_length=64)
    bundle = open_bundle(build_bundle(checkpoint, folder.with_name('bundle'), order))
    build_engines(bundle.path, EngineOptions(max_rows=24, timing_cache=''))

    def make(config: ModelConfig) -> Backend:
        use(machine)
        return TensorrtBackend(bundle, config)

    return Kind(make, 1e-4, can_slice=False)


def kernel_steps_kind(folder: Path, version: str) -> Kind:
    """Returns TensorRT whose few rows run in own kernels, on the cache of the engines; in float32,
    so that nothing but the order of additions tells the two apart.
    """
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import kernel_steps_bundle, small_checkpoint
    from support.fake_gpu.installed import Machine, use
    from support.fake_gpu.numpy_kernels import run_in_numpy

    from penguin_ros.backends.tensorrt.backend import TensorrtBackend
    from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

    machine = Machine(version)
    machine.gpu.executor = run_in_numpy
    use(machine)
    checkpoint = small_checkpoint(folder)
    made = kernel_steps_bundle(checkpoint, folder.with_name('bundle'), 64, precision='float32')
    bundle = open_bundle(made)
    build_engines(bundle.path, EngineOptions(max_rows=24, timing_cache=''))

    def make(config: ModelConfig) -> Backend:
        use(machine)
        return TensorrtBackend(bundle, replace(config, device='auto', precision='auto'))

    return Kind(make, 1e-4, can_slice=False)


def cuda_kind(folder: Path, compute: str) -> Kind:
    """Returns own kernels with int4 weights on a GPU that does not exist, computed in numpy; in
    float32 nothing but the order of additions tells one row from several.
    """
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import computing_machine, cuda_bundle, small_checkpoint
    from support.fake_gpu.installed import use

    from penguin_ros.backends.cuda.backend import CudaBackend
    from penguin_ros.export.precision import BuildChoice

    machine = computing_machine()
    checkpoint, choice = small_checkpoint(folder), BuildChoice('cuda', 'int4', compute=compute)
    bundle = open_bundle(cuda_bundle(checkpoint, folder.with_name('bundle'), choice, 64))

    def make(config: ModelConfig) -> Backend:
        use(machine)
        return CudaBackend(bundle, replace(config, device='auto', precision='auto'))

    return Kind(make, 1e-4 if compute == 'float32' else HALF_ROUNDING)


def interpreted_kind(folder: Path, stack: ExitStack) -> Kind:
    """Returns own kernels in float32, their weights in int4, by Triton's interpreter; it ends with
    the stack.
    """
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import cuda_bundle, small_checkpoint
    from support.fake_gpu.installed import Machine, use
    from support.fake_gpu.interpreted import interpreting_gpu, short_passes

    from penguin_ros.backends.cuda.backend import CudaBackend
    from penguin_ros.export.precision import BuildChoice

    checkpoint, choice = small_checkpoint(folder), BuildChoice('cuda', 'int4', compute='float32')
    bundle = open_bundle(cuda_bundle(checkpoint, folder.with_name('bundle'), choice, 64))
    machine = Machine(gpu=stack.enter_context(interpreting_gpu(192 * 1024 * 1024)))
    use(machine)
    short_passes(stack.enter_context(pytest.MonkeyPatch.context()))

    def make(config: ModelConfig) -> Backend:
        use(machine)
        return CudaBackend(bundle, replace(config, device='auto', precision='auto'))

    return Kind(make, 1e-4)


def scripted_kind(folder: Path) -> Kind:
    """Returns the scripted backend, in which all ways must agree to the bit."""
    return Kind(ScriptedBackend, 0.0)


KINDS = {
    'torch': torch_kind,
    'torch graphs': torch_graphs_kind,
    'scripted': scripted_kind,
    'onnxruntime in place': lambda folder: onnx_kind(folder, FULL),
    'onnxruntime two-part': lambda folder: onnx_kind(folder, TWO_PART),
    'onnxruntime on a device': lambda folder: onnx_device_kind(folder, FULL),
    'onnxruntime on a device, two-part': lambda folder: onnx_device_kind(folder, TWO_PART),
    'tensorrt in place': lambda folder: tensorrt_kind(folder, '10.16.2'),
    'tensorrt two-part': lambda folder: tensorrt_kind(folder, '10.3.0'),
    'tensorrt and kernels': lambda folder: kernel_steps_kind(folder, '10.16.2'),
    'tensorrt two-part and kernels': lambda folder: kernel_steps_kind(folder, '10.3.0'),
    'cuda': lambda folder: cuda_kind(folder, 'float32'),
    'cuda, float16': lambda folder: cuda_kind(folder, 'float16'),
}


def frame(seed: int, rows: int = 4, columns: int = 6, merge_size: int = 2) -> FramePatches:
    """Returns random patches in the range that preprocessing gives."""
    pixels = np.random.default_rng(seed).uniform(-1, 1, (rows * columns, 588)).astype(np.float32)
    return FramePatches(pixels, rows, columns, merge_size)


def tokens(seed: int, count: int) -> np.ndarray:
    """Returns (count,) random ids, int64, below any backend's vocabulary."""
    return np.random.default_rng(seed).integers(0, 400, count)


def run_to_end(encode: Generator[None, None, list[Features]]) -> tuple[list[Features], int]:
    """Runs an encode to its end; returns the features and the number of slices."""
    slices = 0
    while True:
        try:
            next(encode)
        except StopIteration as end:
            return end.value, slices
        slices += 1


def piece(ids: np.ndarray, spans: tuple[FeatureSpan, ...], start: int, end: int) -> Chunk:
    """Returns the positions start .. end of a prompt, with the spans cut accordingly."""
    cut = []
    for span in spans:
        low, high = max(span.offset, start), min(span.offset + span.count, end)
        if low < high:
            cut.append(
                FeatureSpan(low - start, span.features, span.first + low - span.offset, high - low)
            )
    return Chunk(ids[start:end], tuple(cut))


each_example_takes_new_slots = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def prompt(backend: Backend) -> tuple[np.ndarray, tuple[FeatureSpan, ...]]:
    """Returns 31 positions: text, the 6 tokens of a frame, text, 4 rows out of the middle of
    another frame, text.
    """
    first, second = run_to_end(backend.encode([frame(1), frame(2)]))[0]
    return tokens(3, 31), (FeatureSpan(5, first, 0, 6), FeatureSpan(20, second, 1, 4))


def last_logits(backend: Backend, slot: int, ids: np.ndarray, *spans: FeatureSpan) -> np.ndarray:
    """Appends all at once; returns the logits (vocabulary,) of the last position."""
    return backend.forward(slot, Chunk(ids, spans), [-1])[0]


def fresh_logits(backend: Backend, ids: np.ndarray, *spans: FeatureSpan) -> np.ndarray:
    """Does the same in a slot of its own."""
    slot = backend.new_slot()
    try:
        return last_logits(backend, slot, ids, *spans)
    finally:
        backend.free_slot(slot)
