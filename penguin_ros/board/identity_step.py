# SPDX-License-Identifier: Apache-2.0
"""The step that says what board this is and what is installed: facts that everything else is read
with. Nothing here fails; what is missing is said.
"""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import asdict
from typing import Any

from penguin_ros.backends.cuda.versions import driver_version
from penguin_ros.backends.tensorrt.library import require_tensorrt
from penguin_ros.board import machine_facts
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.board_facts import board_facts
from penguin_ros.errors import PenguinError

PACKAGES = ('libnvinfer10', 'libnvinfer11', 'nvidia-l4t-core', 'cuda-cudart-1')
"""How the names of the packages of apt begin that matter here."""


def run(order: StepOrder, note: Note) -> None:
    """Notes all of it."""
    facts = board_facts()
    jetson = facts.jetson
    note(
        {
            'model': facts.model,
            'is_jetson': jetson is not None,
            'l4t': facts.release,
            'jetpack': jetson.jetpack if jetson else '',
            'kernel': platform.release(),
            'machine': platform.machine(),
            'python': platform.python_version(),
            'packages': machine_facts.package_versions(PACKAGES),
        }
    )
    note(
        {
            'power_mode': machine_facts.power_mode(),
            'clocks': machine_facts.clocks(),
            'throttling': machine_facts.throttling(),
            'temperatures': machine_facts.temperatures(),
            'memory': machine_facts.memory(),
            'has_desktop': machine_facts.has_desktop(),
            'cores': os.cpu_count() or 0,
        }
    )
    note({'cuda': _cuda(), 'tensorrt': _tensorrt()})
    note({'gpu': _gpu()})


def _cuda() -> dict[str, Any]:
    """The versions of the driver, and of the runtime in NVIDIA's bindings, as 12060 for 12.6;
    whether these are a stand-in of a test, which no file holds.
    """
    try:
        from penguin_ros.backends.cuda.device import is_stand_in, versions

        driver, runtime = versions()
    except Exception as error:  # absent, or a library that it loads is
        return {'driver': driver_version(), 'runtime': 0, 'why': _line(error)}
    return {'driver': driver, 'runtime': runtime, 'is_stand_in': is_stand_in()}


def _tensorrt() -> dict[str, str]:
    try:
        library = require_tensorrt()
    except PenguinError as error:
        return {'name': '', 'why': f'{error.what}: {error.why}', 'fix': error.fix}
    found = {'name': str(library), 'module': library.module, 'version': library.version}
    for name in ('onnx', 'numpy'):
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except ImportError:
            found[name] = ''
    return found


def _gpu() -> dict[str, Any]:
    try:
        from penguin_ros.backends.cuda.device import CudaDevice

        device = CudaDevice()
    except Exception as error:  # the step after this one says it with its remedy
        return {'why': _line(error)}
    try:
        free, total = device.memory()
        return {**asdict(device.gpu), 'free_bytes': free, 'total_bytes': total}
    finally:
        device.close()


def _line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.partition('\n')[0]
