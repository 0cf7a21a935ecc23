# SPDX-License-Identifier: Apache-2.0
"""Where ONNX Runtime computes: the execution providers for a setting, and the number of threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable, CacheUnusable, SettingError
from penguin_ros.installation import replace_command
from penguin_ros.user_cache import user_cache

CPU, CUDA, TENSORRT = 'CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider'
NAMES = {'cpu': CPU, 'cuda': CUDA, 'tensorrt': TENSORRT}
"""What ONNX Runtime calls the values of the setting model.provider."""

_TOPOLOGY = '/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list'

Provider = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Placement:
    """The `providers` in the order in which ONNX Runtime asks them, each with options, and the
    `device` of the KV cache, cpu or cuda.
    """

    providers: tuple[Provider, ...]
    device: str

    @property
    def best(self) -> str:
        """The name of the first provider."""
        return self.providers[0][0]


def choose_placement(library: ModuleType, config: ModelConfig, compute: str) -> Placement:
    """Returns the providers for model.device and model.provider.

    auto takes CUDA when this onnxruntime has it and the bundle computes in float16, which is what a
    bundle for a GPU does. SettingError when device and provider contradict each other,
    BackendUnavailable when this onnxruntime lacks the provider.
    """
    wanted = config.provider
    if wanted == 'auto':
        has_cuda = CUDA in library.get_available_providers() and compute == 'float16'
        wanted = (
            'cuda' if config.device == 'cuda' or (config.device == 'auto' and has_cuda) else 'cpu'
        )
    if config.device != 'auto' and (config.device == 'cpu') != (wanted == 'cpu'):
        raise SettingError(
            f'model.device = {config.device!r}',
            f'model.provider is {wanted}',
            'Leave one of them at auto',
        )
    if NAMES[wanted] not in library.get_available_providers():
        raise missing(NAMES[wanted], f'onnxruntime {library.__version__} was built without it')
    if wanted == 'cpu':
        return Placement(((CPU, {}),), 'cpu')
    chain: list[Provider] = [(CUDA, {}), (CPU, {})]
    if wanted == 'tensorrt':
        chain.insert(0, (TENSORRT, _tensorrt_options()))
    return Placement(tuple(chain), 'cuda')


def missing(provider: str, why: str) -> BackendUnavailable:
    """Returns the error for a provider that is asked for and cannot be had."""
    return BackendUnavailable(
        f'ONNX Runtime has no {provider} here',
        why,
        f'Type: {replace_command("onnxruntime", "onnxruntime-gpu")}; or set model.provider to cpu',
    )


def usable_cores() -> int:
    """Returns the number of physical cores that this process may run on: matrix products gain
    nothing from two threads on one core.
    """
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _tensorrt_options() -> dict[str, Any]:
    """TensorRT builds engines when a session is opened, and again for new shapes: they are kept,
    where there is a folder for them.
    """
    try:
        folder = str(user_cache('onnxruntime_tensorrt'))
    except CacheUnusable:
        return {}
    return {
        'trt_engine_cache_enable': True,
        'trt_engine_cache_path': folder,
        'trt_timing_cache_enable': True,
        'trt_timing_cache_path': folder,
    }


def _siblings(cpu: int) -> str:
    try:
        return Path(_TOPOLOGY.format(cpu)).read_text(encoding='ascii').strip()
    except OSError:
        return str(cpu)
