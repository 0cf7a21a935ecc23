# SPDX-License-Identifier: Apache-2.0
"""Parses and builds the graphs of a bundle with TensorRT for RTX, by the very code that builds with
TensorRT. Needs no GPU.

Runs as a program in a process of its own, with the wheels on its path: `build_with_rtx.py BUNDLE
TARGET`, TARGET a compute capability to build for, 'parse' to stop after parsing, 'interrupt' to
send itself an interrupt while it builds, or 'check' to ask whether an H200 will do. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# The package tensorrt_rtx has nothing of its own; it is no wheel, but is built of sources.
sys.modules['tensorrt_rtx'] = importlib.import_module('tensorrt_rtx_bindings')

from penguin_ros.backends.tensorrt.library import require_tensorrt

LIBRARY = require_tensorrt('tensorrt_rtx')

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.cuda.buffers import Gpu
from penguin_ros.errors import BackendError, BackendUnavailable
from penguin_ros.export.tensorrt.builder import BuilderSettings, Network
from penguin_ros.export.tensorrt.candidates import candidates, check_size, prepared
from penguin_ros.export.tensorrt.graph import weight_bytes
from penguin_ros.export.tensorrt.profiles import ProfileSizes


def main(folder: str, target: str) -> dict[str, Any]:
    """Tries every candidate, each on its own."""
    bundle = open_bundle(folder)
    results = {}
    for part in ('decoder', 'vision'):
        for candidate in candidates(part, bundle.manifest):
            results[str(candidate)] = attempt(bundle, candidate, target)
    return results


def attempt(bundle: Any, candidate: Any, target: str) -> dict[str, Any]:
    """Returns what became of one: its layers and inputs, the size of its engine, or the error."""
    graph = prepared(bundle, candidate, ProfileSizes())
    spec = bundle.graph(candidate.part, candidate.variant)
    result: dict[str, Any] = {
        'name': str(candidate),
        'part': candidate.part,
        'variant': candidate.variant,
        'quantised': spec.quantised,
        'expected_inputs': [tensor.name for tensor in spec.inputs],
        'weight_bytes': weight_bytes(graph.model),
    }
    shown: list[float] = []
    try:
        network = Network(graph)
        result.update(layers=network.layers(), inputs=network.inputs())
        if target != 'parse':
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / 'engine'
                network.build(BuilderSettings(target=target), path, shown.append)
                result['engine_bytes'] = path.stat().st_size
            check_size(result['engine_bytes'], result['weight_bytes'])
    except BackendError as error:
        result['error'] = str(error)
    result['progress'] = [len(shown), min(shown, default=0), max(shown, default=0)]
    return result


def interrupted(folder: str) -> dict[str, Any]:
    """Returns how a build ends that is interrupted at its fifth step."""
    bundle, shown = open_bundle(folder), []

    def show(fraction: float) -> None:
        shown.append(fraction)
        if len(shown) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    network = Network(prepared(bundle, candidates('decoder', bundle.manifest)[0], ProfileSizes()))
    with tempfile.TemporaryDirectory() as place:
        try:
            network.build(BuilderSettings(target='SM86'), Path(place) / 'engine', show)
        except KeyboardInterrupt:
            return {'steps': len(shown), 'has_engine': (Path(place) / 'engine').exists()}
    return {'steps': len(shown), 'has_engine': True}


def checked() -> dict[str, Any]:
    """Returns what the check of a GPU says here, where no engine loads since there is no driver."""
    from penguin_ros.export.tensorrt.gpu_check import check_gpu  # needs CUDA's bindings

    device: Any = SimpleNamespace(gpu=Gpu('NVIDIA H200', '9.0', '13.0', False))
    try:
        check_gpu(device, LIBRARY)
    except BackendUnavailable as error:
        return {'what': error.what, 'why': error.why, 'fix': error.fix}
    return {}


if __name__ == '__main__':
    if sys.argv[2] == 'check':
        found = checked()
    elif sys.argv[2] == 'interrupt':
        found = interrupted(sys.argv[1])
    else:
        found = main(*sys.argv[1:])
    print('\n' + json.dumps(found))
