# SPDX-License-Identifier: Apache-2.0
"""Parses and builds the graphs of a bundle with TensorRT for RTX, by the very code that builds with
TensorRT. Needs no GPU.

Runs as a program in a process of its own, with the wheels on its path: `build_with_rtx.py BUNDLE
TARGET`, TARGET a compute capability to build for, 'parse' to stop after parsing, or 'interrupt' to
send itself an interrupt while it builds. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.modules['tensorrt'] = importlib.import_module('tensorrt_rtx_bindings')

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.errors import BackendError
from penguin_ros.export.tensorrt.builder import BuilderSettings, Network
from penguin_ros.export.tensorrt.candidates import candidates, check_size, prepared
from penguin_ros.export.tensorrt.graph import weight_bytes
from penguin_ros.export.tensorrt.profiles import ProfileSizes


def main(folder: str, target: str) -> dict[str, Any]:
    """Tries every candidate, each on its own."""
    bundle = open_bundle(folder)
    precision, results = bundle.manifest.precision, {}
    for part, kind in (('decoder', precision.linears), ('vision', precision.vision)):
        for candidate in candidates(part, kind):
            results[str(candidate)] = attempt(bundle, candidate, target)
    return results


def attempt(bundle: Any, candidate: Any, target: str) -> dict[str, Any]:
    """Returns what became of one: its layers and inputs, the size of its engine, or the error."""
    graph = prepared(bundle, candidate, ProfileSizes())
    spec = bundle.graph(candidate.part, candidate.variant)
    result: dict[str, Any] = {
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
                network.build(
                    BuilderSettings(Path(folder) / 'timing' / 'cache', target=target),
                    path,
                    shown.append,
                )
                result['engine_bytes'] = path.stat().st_size
                result['has_timing_cache'] = (Path(folder) / 'timing' / 'cache').is_file()
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

    network = Network(
        prepared(
            bundle, candidates('decoder', bundle.manifest.precision.linears)[0], ProfileSizes()
        )
    )
    with tempfile.TemporaryDirectory() as place:
        try:
            network.build(BuilderSettings(target='SM86'), Path(place) / 'engine', show)
        except KeyboardInterrupt:
            return {'steps': len(shown), 'has_engine': (Path(place) / 'engine').exists()}
    return {'steps': len(shown), 'has_engine': True}


if __name__ == '__main__':
    print(
        '\n'
        + json.dumps(
            interrupted(sys.argv[1]) if sys.argv[2] == 'interrupt' else main(*sys.argv[1:])
        )
    )
