# SPDX-License-Identifier: Apache-2.0
"""The ways in which this machine can run a model, the fastest first, found without importing any
inference library: the card is asked of its driver, the libraries of their files.

The order is that of the first measurement on a GPU (docs/gpu.md: one H200, 2026-11-27): torch on
CUDA, which replays its steps as graphs; ONNX Runtime on CUDA; then the CPU, which no measurement
puts near either. TensorRT stands aside: it runs what was built for it and nothing else.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from penguin_ros.installation import install_command, replace_command
from penguin_ros.jetson import find_jetson
from penguin_ros.libraries import installed_rivals
from penguin_ros.nvidia_card import Card, find_card

NEWER_DRIVER = 'Update the NVIDIA driver'
LAST_TORCH_FOR_CUDA_12 = 'torch>=2.1,<2.11'
"""What the package index has for CUDA 12; from 2.11 on it is built for CUDA 13."""

JETSON = 'A Jetson runs TensorRT: docs/engines.md'
"""The torch of the package index is built for another CUDA than JetPack 6 has."""

GPU_PACKAGE = 'onnxruntime-gpu[cuda,cudnn]'


class Way(Enum):
    """A library and where it computes, in the order of the module's text."""

    TORCH_CUDA = 'torch on CUDA'
    ONNXRUNTIME_CUDA = 'ONNX Runtime on CUDA'
    TORCH_CPU = 'torch on the CPU'
    ONNXRUNTIME_CPU = 'ONNX Runtime on the CPU'


@dataclass(frozen=True)
class Build:
    """A library that is installed: its `version`, and the CUDA that it was built for, '' where it
    was built for CPUs.
    """

    version: str
    cuda: str


@dataclass(frozen=True)
class Machine:
    """What decides which ways there are; None for what is absent."""

    card: Card | None
    torch: Build | None
    onnxruntime: Build | None

    def ways(self) -> list[Way]:
        """Returns the ways that are open, the fastest first."""
        found = []
        for build, on_card, on_cpu in (
            (self.torch, Way.TORCH_CUDA, Way.TORCH_CPU),
            (self.onnxruntime, Way.ONNXRUNTIME_CUDA, Way.ONNXRUNTIME_CPU),
        ):
            if build is not None:
                found += [on_cpu] if self._idle_for(build) else [on_card, on_cpu]
        return sorted(found, key=list(Way).index)

    def idle_beside_torch(self) -> tuple[str, str]:
        """Returns why torch leaves the card idle, and what to type; twice '' where it does not."""
        if self.card is None or self.torch is None:
            return '', ''
        why, fix = self._idle('torch', self.torch, _torch_line(), LAST_TORCH_FOR_CUDA_12)
        return why, why and (JETSON if find_jetson() else fix)

    def idle_beside_onnxruntime(self) -> tuple[str, str]:
        """Returns the same of ONNX Runtime."""
        if self.card is None or self.onnxruntime is None:
            return '', ''
        line = replace_command(installed_rivals('onnxruntime') or 'onnxruntime', GPU_PACKAGE)
        return self._idle('onnxruntime', self.onnxruntime, line, '')

    def _idle(self, name: str, build: Build, line: str, older: str) -> tuple[str, str]:
        card = self.card
        if card is None or not self._idle_for(build):
            return '', ''
        if not card.cuda:
            why = f'the driver of {card.name} has no libcuda.so.1 here: it is idle'
            return why, f'{NEWER_DRIVER}; in a container, start that with --gpus all'
        if not build.cuda:
            return f'{name} here is built for CPUs; {card.name} is idle', f'Type: {line}'
        why = f'{name} here is built for CUDA {build.cuda}, which the driver is too old for (CUDA '
        why += f'{card.cuda // 1000}.{card.cuda % 1000 // 10} at most); {card.name} is idle'
        other = f', or type: {install_command(older)}' if older and card.cuda >= 12000 else ''
        return why, f'{NEWER_DRIVER}{other}'

    def _idle_for(self, build: Build) -> bool:
        return self.card is None or not self.card.runs(build.cuda)


def this_machine() -> Machine:
    """Looks at the driver and at the files of both libraries."""
    return Machine(find_card(), torch_build(), onnxruntime_build())


def torch_build() -> Build | None:
    """Returns what torch says of itself in its file of versions; None where it is absent."""
    text = _text('torch', 'version.py')
    return Build(_assigned(text, '__version__'), _assigned(text, 'cuda')) if text else None


def onnxruntime_build() -> Build | None:
    """Returns the same of ONNX Runtime, whose CUDA counts where its provider lies beside it."""
    text = _text('onnxruntime', 'capi/build_and_package_info.py')
    if not text:
        return None
    has_provider = bool(_path('onnxruntime', 'capi/libonnxruntime_providers_cuda.so'))
    cuda = _assigned(text, 'cuda_version') if has_provider else ''
    return Build(_assigned(text, '__version__'), cuda)


def _torch_line() -> str:
    return install_command('torch', options=['--force-reinstall'])


def _assigned(text: str, name: str) -> str:
    found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]*)['\"]", text, re.MULTILINE)
    return found[1] if found else ''


def _text(module: str, file: str) -> str:
    path = _path(module, file)
    try:
        return path.read_text(encoding='utf-8', errors='replace') if path else ''
    except OSError:
        return ''


def _path(module: str, file: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    return None
