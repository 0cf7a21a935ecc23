# SPDX-License-Identifier: Apache-2.0
"""Small bundles for the backend cuda, without a compiler, and the backends that run them on a GPU
that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from support.fake_gpu.installed import Machine, use
from support.fake_gpu.kernel_images import stand_in
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.numpy_kernels import run_in_numpy

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda.kernel_files import KernelOrder
from penguin_ros.export.precision import BuildChoice
from penguin_ros.kernels.table import Compiled, Kernel
from penguin_ros.testing import random_checkpoint
from penguin_ros.testing.random_checkpoint import write_random_checkpoint

MAX_LENGTH = 96
CONFIG = ModelConfig(max_length=MAX_LENGTH, kv_slots=3)
SHAPE = 'tiny with heads of 16'
"""Heads of a power of two, as the kernels want them."""


def stand_ins(kernels: Sequence[Kernel], target: int) -> list[Compiled]:
    """Compiles nothing."""
    return [stand_in(kernel, target) for kernel in kernels]


def register_small_shape() -> None:
    """Makes a shape that the kernels compute known to `write_random_checkpoint`."""
    tiny = random_checkpoint.SHAPES['tiny']
    random_checkpoint.SHAPES[SHAPE] = replace(tiny, llm=replace(tiny.llm, head_dim=16))


def small_checkpoint(folder: Path, seed: int = 0, dtype: str = 'float16') -> Path:
    """Writes a tiny random checkpoint that the kernels compute."""
    register_small_shape()
    return write_random_checkpoint(folder, SHAPE, seed, dtype=dtype)


def cuda_bundle(
    checkpoint: Path,
    folder: Path,
    choice: BuildChoice | None = None,
    max_length: int = MAX_LENGTH,
    targets: tuple[int, ...] = (87,),
) -> Path:
    """Builds a bundle with stand-ins for compiled kernels."""
    order = BuildOrder(
        choice or BuildChoice('cuda', 'float16'),
        max_length,
        kernels=KernelOrder(targets, stand_ins),
    )
    return build_bundle(open_checkpoint(checkpoint), folder, order)


def kernel_steps_bundle(
    checkpoint: Path,
    folder: Path,
    max_length: int = MAX_LENGTH,
    decode: str = 'kernels',
    precision: str = 'float16',
) -> Path:
    """Builds a bundle for TensorRT, without engines, in which kernels decode."""
    order = BuildOrder(
        BuildChoice('tensorrt', precision),
        max_length,
        kernels=KernelOrder((87,), stand_ins),
        decode=decode,
    )
    return build_bundle(open_checkpoint(checkpoint), folder, order)


def computing_machine(gpu: FakeGpu | None = None) -> Machine:
    """Returns a machine whose GPU computes kernels in numpy."""
    machine = Machine(gpu=gpu or FakeGpu())
    machine.gpu.executor = run_in_numpy
    return machine


def opened(machine: Machine, folder: Path, config: ModelConfig = CONFIG) -> CudaBackend:
    """Returns an open backend on this machine."""
    use(machine)
    backend = CudaBackend(open_bundle(folder), config)
    backend.open()
    return backend
