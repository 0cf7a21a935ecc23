# SPDX-License-Identifier: Apache-2.0
"""Whether TensorRT for RTX takes the GPU of this machine, asked of the library before minutes are
spent: it builds for a GPU that it cannot run on without a word, and refuses the engine when that
is loaded. So an engine of one layer, which takes less than a second, is built and loaded first.

Importing this file needs tensorrt. Plain TensorRT needs no such check: it builds on the GPU itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from penguin_ros.backends.cuda.buffers import Gpu
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.versions import driver_version
from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.engine import Engine
from penguin_ros.backends.tensorrt.library import Library, rtx_command
from penguin_ros.errors import BackendError, BackendUnavailable
from penguin_ros.export.tensorrt.builder import BuilderSettings, BuildInput, Network

PREFIX = 'SM'
"""Before the digits of a compute capability, in the names of the library."""


def target_for(gpu: Gpu) -> str:
    """Returns what to build for: the GPU's own compute capability ('SM86') where the library has
    it, else '', the library's choice, which newer GPUs run too. SM75 has to be asked for.
    """
    own = PREFIX + gpu.compute.replace('.', '')
    return own if own in _targets() else ''


def check_gpu(device: CudaDevice, library: Library) -> None:
    """Raises BackendUnavailable with the compute capabilities that `library` builds for, and its
    own words, when an engine that it built does not load on the device.
    """
    gpu = device.gpu
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'engine'
        try:
            network = Network(BuildInput(one_layer(), Path('one_layer.onnx'), (), ()))
            network.build(BuilderSettings(target=target_for(gpu)), path, lambda fraction: None)
            Engine(path, device).close()
        except BackendError as error:
            raise BackendUnavailable(
                f'{library} does not run on {gpu.name} (compute capability {gpu.compute})',
                f'it builds for {", ".join(map(_as_number, _targets()))}; an engine of one layer '
                f'does not load: {error.why}',
                _way_out(gpu),
            ) from error


def one_layer() -> onnx.ModelProto:
    """Returns the smallest network that a builder takes."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in 'xy')
    graph = helper.make_graph([helper.make_node('Add', ['x', 'x'], ['y'])], 'one_layer', [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)


def _targets() -> list[str]:
    """Returns the names of the compute capabilities that this TensorRT builds for."""
    if not hasattr(trt, 'ComputeCapability'):
        return []
    return [name for name in trt.ComputeCapability.__members__ if name.startswith(PREFIX)]


def _as_number(target: str) -> str:
    digits = target.removeprefix(PREFIX)
    return f'{digits[:-1]}.{digits[-1]}'


def _way_out(gpu: Gpu) -> str:
    if target_for(gpu):
        return f'Check the driver with nvidia-smi, or type: {rtx_command(driver_version())}'
    return 'Run the checkpoint with backend torch, or build it with --backend onnxruntime'
