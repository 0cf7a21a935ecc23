# SPDX-License-Identifier: Apache-2.0
"""Where ONNX Runtime computes: the execution providers for a setting, and the number of threads."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from penguin_ros.backends.onnxruntime.cuda_libraries import DRIVER, PACKAGE, load_cuda_libraries
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable, CacheUnusable, SettingError
from penguin_ros.installation import install_command, replace_command
from penguin_ros.libraries import installed_rivals
from penguin_ros.nvidia_card import find_card
from penguin_ros.user_cache import user_cache

CPU, CUDA, TENSORRT = 'CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider'
NAMES = {'cpu': CPU, 'cuda': CUDA, 'tensorrt': TENSORRT}
"""What ONNX Runtime calls the values of the setting model.provider."""

_TOPOLOGY = '/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list'

Provider = tuple[str, dict[str, Any]]


GRAPHS, TF32 = 'enable_cuda_graph', 'use_tf32'
"""Options of the CUDA provider."""


@dataclass(frozen=True)
class Placement:
    """The `providers` in the order in which ONNX Runtime asks them, each with options, and the
    `device` of the KV cache, cpu or cuda. `can_capture`: graphs of launches are asked for. `idle`:
    why a card that is there is not used, '' where none is or it is.
    """

    providers: tuple[Provider, ...]
    device: str
    can_capture: bool = False
    idle: str = ''

    @property
    def best(self) -> str:
        """The name of the first provider."""
        return self.providers[0][0]

    def capturing(self) -> tuple[Provider, ...]:
        """Returns the providers with the option by which CUDA captures graphs."""
        return tuple(
            (name, {**options, GRAPHS: '1'} if name == CUDA else options)
            for name, options in self.providers
        )


def choose_placement(library: ModuleType, config: ModelConfig) -> Placement:
    """Returns the providers for model.device and model.provider.

    auto takes CUDA where there is a card and this onnxruntime can use it; where it cannot, the CPU
    runs and the log says why. SettingError when device and provider contradict each other,
    BackendUnavailable when this onnxruntime lacks the provider that is asked for.
    """
    wanted, idle = config.provider, ''
    if wanted == 'auto':
        wanted, idle = _best(library) if config.device == 'auto' else (config.device, '')
    if config.device != 'auto' and (config.device == 'cpu') != (wanted == 'cpu'):
        raise SettingError(
            f'model.device = {config.device!r}',
            f'model.provider is {wanted}',
            'Leave one of them at auto',
        )
    if wanted == 'cpu':
        return Placement(((CPU, {}),), 'cpu', idle=idle)
    if error := unusable(library, NAMES[wanted]):
        raise error
    chain: list[Provider] = [(CUDA, {TF32: str(int(config.provider_tf32))}), (CPU, {})]
    if wanted == 'tensorrt':
        chain.insert(0, (TENSORRT, _tensorrt_options()))
    return Placement(tuple(chain), 'cuda', config.provider_graphs and wanted == 'cuda')


def unusable(library: ModuleType, provider: str) -> BackendUnavailable | None:
    """Returns the error that names what a provider lacks on this machine; None when it has all that
    can be seen without starting it.
    """
    if provider not in library.get_available_providers():
        return missing(provider, f'onnxruntime {library.__version__} was built without it')
    card, built_for = find_card(), str(getattr(library, 'cuda_version', '') or '')
    if card is not None and built_for and card.cuda and not card.runs(built_for):
        return BackendUnavailable(
            f'ONNX Runtime cannot start its {provider}',
            f'onnxruntime {library.__version__} is built for CUDA {built_for}, which the driver is '
            f'too old for ({card})',
            'Update the NVIDIA driver, or set model.provider to cpu',
        )
    lacking = load_cuda_libraries(library)
    if DRIVER in lacking:
        return BackendUnavailable(
            f'ONNX Runtime cannot start its {provider}',
            f'there is no NVIDIA driver: {DRIVER} is not found',
            'Install the NVIDIA driver; in a container, start that with --gpus all; or set '
            'model.provider to cpu',
        )
    if lacking:
        return BackendUnavailable(
            f'ONNX Runtime cannot start its {provider}',
            f'shared libraries are missing: {", ".join(lacking)}',
            f'Type: {install_command(PACKAGE)}; or set model.provider to cpu',
        )
    return None


def missing(provider: str, why: str) -> BackendUnavailable:
    """Returns the error for a provider that is asked for and cannot be had."""
    rivals = installed_rivals('onnxruntime')
    if len(rivals) > 1:
        why = f'{why}; {" and ".join(rivals)} are both installed, and write to the same files'
    return BackendUnavailable(
        f'ONNX Runtime has no {provider} here',
        why,
        f'Type: {replace_command(rivals or "onnxruntime", PACKAGE)}; or set model.provider to cpu',
    )


def _best(library: ModuleType) -> tuple[str, str]:
    """Returns the provider for auto, and why the card is idle, which the log is told."""
    card = find_card()
    error = unusable(library, CUDA) if card else None
    if card is None or error is None:
        return 'cpu' if card is None else 'cuda', ''
    idle = f'{card.name} is idle, the CPU runs: {error}'
    logging.getLogger(__name__).warning('%s', idle)
    return 'cpu', idle


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
