# SPDX-License-Identifier: Apache-2.0
"""What TensorRT says of the layers of a built engine: their kernels, and the shapes and formats of
what goes in and out. It says most of an engine that was built to be looked into.

Importing this file needs tensorrt.
"""

from __future__ import annotations

import json
from typing import Any

from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.engine import Engine


def engine_layers(engine: Engine) -> list[dict[str, Any]]:
    """Returns the layers as TensorRT's JSON has them; none where this TensorRT does not tell."""
    loaded: trt.ICudaEngine = engine.engine
    if not hasattr(loaded, 'create_engine_inspector'):
        return []
    inspector: trt.EngineInspector = loaded.create_engine_inspector()
    text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text).get('Layers', [])
    except (ValueError, AttributeError):
        return []
    return [layer for layer in layers if isinstance(layer, dict)]
