# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is installed and whether it can be used, and what its number formats are in numpy.

There are two: plain TensorRT, and TensorRT for RTX. Importing this file needs neither;
`require_tensorrt` imports the one that is used.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from penguin_ros.backends.cuda.versions import driver_version, split
from penguin_ros.errors import BackendUnavailable
from penguin_ros.installation import install_command
from penguin_ros.jetson import find_jetson

STORAGE: dict[str, np.dtype[Any]] = {
    'FLOAT': np.dtype('<f4'),
    'HALF': np.dtype('<f2'),
    'BF16': np.dtype('<u2'),
    'INT32': np.dtype('<i4'),
    'INT64': np.dtype('<i8'),
    'BOOL': np.dtype('?'),
    'UINT8': np.dtype('u1'),
    'INT8': np.dtype('i1'),
}
"""How a tensor lies in numpy, by the name of TensorRT's DataType; bfloat16 as its bits."""

NAMES = {
    'FLOAT': 'float32',
    'HALF': 'float16',
    'BF16': 'bfloat16',
    'INT32': 'int32',
    'INT64': 'int64',
    'BOOL': 'bool',
    'UINT8': 'uint8',
    'INT8': 'int8',
}
"""What the manifest of a bundle calls these formats."""

SAFETENSORS = {'FLOAT': 'F32', 'HALF': 'F16', 'BF16': 'BF16'}
"""What safetensors calls the formats of activations."""

PLAIN, RTX = MODULES = ('tensorrt', 'tensorrt_rtx')
"""What is imported, the preferred one first: TensorRT, and TensorRT for RTX."""

TITLES = {PLAIN: 'TensorRT', RTX: 'TensorRT for RTX'}
OLDEST = {PLAIN: (10, 3), RTX: (1, 4)}
"""The oldest version of each that runs the graphs."""

RTX_PACKAGES = {12: 'tensorrt-rtx-cu12>=1.4,<1.8', 13: 'tensorrt-rtx-cu13>=1.4,<1.8'}
"""TensorRT for RTX by the CUDA of the driver. A release may drop what an older one had."""

BINDINGS = 'penguin_ros.backends.tensorrt.bindings'
_chosen = PLAIN


@dataclass(frozen=True)
class Library:
    """A TensorRT that is installed: the name of its module, and its version."""

    module: str
    version: str

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT for RTX, which builds on the CPU and compiles kernels when an
        engine runs.
        """
        return self.module == RTX

    def __str__(self) -> str:
        return f'{TITLES[self.module]} {self.version}'


def require_tensorrt(made_by: str = '') -> Library:
    """Returns the TensorRT that this process uses from now on: the one of the module `made_by`,
    which made the engines at hand, else plain TensorRT, else TensorRT for RTX.

    BackendUnavailable with the way out when neither can be used.
    """
    errors: dict[str, BackendUnavailable] = {}
    for module in sorted(MODULES, key=lambda module: module != made_by):
        try:
            library = _find(module)
        except BackendUnavailable as error:
            errors[module] = error
        else:
            return _chosen_from_now_on(library)
    raise next((error for error in errors.values() if not _is_absent(error)), errors[PLAIN])


def chosen_module() -> str:
    """Returns the name of the module that was chosen last."""
    return _chosen


def rtx_command(driver: int) -> str:
    """Returns the command that brings TensorRT for RTX for a driver's version as CUDA counts."""
    return install_command(RTX_PACKAGES.get(split(driver)[0], RTX_PACKAGES[max(RTX_PACKAGES)]))


def _find(module: str) -> Library:
    try:
        version = str(importlib.import_module(module).__version__)
    except (ImportError, OSError, AttributeError) as error:
        raise BackendUnavailable(
            'backend tensorrt is not available',
            f'importing {module} failed ({error})',
            _advice(module),
        ) from error
    library = Library(module, version)
    if tuple(int(part) for part in version.split('.')[:2]) < OLDEST[module]:
        oldest = '.'.join(str(part) for part in OLDEST[module])
        raise BackendUnavailable(
            f'{library} is too old',
            f'it lacks int4 weights or operators that the graphs need; {oldest} is the oldest',
            f'Type: {rtx_command(driver_version())}'
            if library.is_rtx
            else 'Upgrade to JetPack 6.2.x (TensorRT 10.3) or later',
        )
    return library


def _is_absent(error: BackendUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, ModuleNotFoundError) and cause.name in MODULES


def _advice(module: str) -> str:
    bring_rtx = rtx_command(driver_version())
    if module == RTX:
        return f'Type: {bring_rtx}'
    on_jetson = (
        'sudo apt install python3-libnvinfer, and use a virtual environment made with '
        '--system-site-packages'
    )
    if find_jetson() is not None:
        return f'Type: {on_jetson}'
    return f'For a card of the RTX family type: {bring_rtx}. On a Jetson type: {on_jetson}'


def _chosen_from_now_on(library: Library) -> Library:
    """Refuses a library beside another one that is in use: both have one logger for all."""
    global _chosen
    bindings = sys.modules.get(BINDINGS)
    if bindings is not None and bindings.trt is not sys.modules[library.module]:
        raise BackendUnavailable(
            f'{library} cannot be used in this process',
            f'it uses {TITLES[_chosen]} already',
            'Open one of the two in another process',
        )
    _chosen = library.module
    return library
