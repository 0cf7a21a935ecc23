# SPDX-License-Identifier: Apache-2.0
"""Each kernel of a network by itself, with random contents: what Triton's interpreter makes of it
equals numpy in float64. It is the first part of `benchmarks/gpu_kernels.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

sys.path.append(str(Path(__file__).resolve().parents[3] / 'benchmarks'))

from gpu_kernel_cases import DeviceCase, case_of, errors, in_float64
from support.fake_gpu.cuda_bundles import SHAPE, register_small_shape, stand_ins
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.interpreted import interpreting_gpu
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.numpy_kernels import run_in_numpy
from support.kernel_runs import needs_triton

from penguin_ros.backends.cuda.kernel_set import read_kernel_set
from penguin_ros.export.cuda.kernel_files import kernels_of, write_kernels
from penguin_ros.kernels.network import Formats, network_of
from penguin_ros.testing.random_checkpoint import SHAPES

LIMIT = 3e-3


def worst_errors(gpu: FakeGpu, formats: Formats, folder: Path) -> dict[str, float]:
    """Launches each kernel once on a GPU; returns its largest relative error."""
    register_small_shape()
    network = network_of(SHAPES[SHAPE], formats)
    kernels = kernels_of(network)
    write_kernels(folder, kernels, stand_ins(kernels, 87))
    use(Machine(gpu=gpu))
    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.backends.cuda.launcher import Launcher
    from penguin_ros.backends.cuda.modules import Modules

    device = CudaDevice()
    launch, found = Launcher(device, Modules(read_kernel_set(folder), 87, None)), {}
    for kernel in kernels:
        case = case_of(kernel, network, np.random.default_rng(0))
        placed = DeviceCase(device, launch, case, 0)
        placed.run()
        device.synchronize()
        found[kernel.name] = errors(case, placed.read(), in_float64(case))
        placed.free()
    device.close()
    remove()
    return found


def test_numpy_in_float32_is_near_numpy_in_float64(tmp_path: Path) -> None:
    gpu = FakeGpu()
    gpu.executor = run_in_numpy
    found = worst_errors(gpu, Formats(), tmp_path)
    assert len(found) > 30 and max(found.values()) < LIMIT


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(
    'formats',
    [
        Formats(cache='i8'),
        Formats(),
        Formats('fp16', 8, 16, 4, 'fp32'),
        Formats('fp16', 16, 8, 8, 'fp16', 'i8'),
    ],
    ids=str,
)
def test_what_triton_makes_of_each_kernel_is_near_numpy_in_float64(
    tmp_path: Path, formats: Formats
) -> None:
    with interpreting_gpu(64 * 1024 * 1024) as gpu:
        found = worst_errors(gpu, formats, tmp_path)
    assert {name: error for name, error in found.items() if not error < LIMIT} == {}
