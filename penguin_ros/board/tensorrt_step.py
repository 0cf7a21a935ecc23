# SPDX-License-Identifier: Apache-2.0
"""The step that lets TensorRT build, load and run an engine of one layer. Whoever fails here needs
not try anything larger.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.errors import BackendError
from penguin_ros.export.tensorrt.build import fitting_machine
from penguin_ros.libraries import libraries_needed


def run(order: StepOrder, note: Note) -> None:
    """Notes the library, and what the engine gave."""
    with fitting_machine() as (library, device), libraries_needed():
        from penguin_ros.board.micro_engine import MicroGraph, measure
        from penguin_ros.export.tensorrt.builder import has_cache_updates
        from penguin_ros.export.tensorrt.gpu_check import one_layer

        note({'library': str(library), 'has_cache_updates': has_cache_updates()})
        values = np.arange(4, dtype=np.float32)[None]
        graph = MicroGraph(
            one_layer(), Path(order.folder) / 'one_layer.onnx', {}, {'x': values}, {}
        )
        found = measure(graph, device, Path(order.folder), order.sizes.repeats)
        note(found.facts())
        if not np.array_equal(found.outputs['y'], 2 * values):
            raise BackendError(
                f'{library} computes wrongly',
                f'{values.tolist()} doubled gave {found.outputs["y"].tolist()}',
                'Install TensorRT again: sudo apt install --reinstall libnvinfer10',
            )
