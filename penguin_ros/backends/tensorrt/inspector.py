# SPDX-License-Identifier: Apache-2.0
"""What TensorRT says of the layers of a built engine: their kernels, and the shapes and formats of
what goes in and out; from that, whether attention became one kernel, and whether weights are
unpacked as a whole before they are multiplied. It says most of an engine that was built for it.

Importing this file needs tensorrt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.engine import Engine

Layer = Mapping[str, object]
ATTENTION = ('mha', 'flash')
"""Parts of the names of kernels that compute attention in one piece."""

FLOATS = ('FP32', 'FP16', 'BF16', 'FLOAT', 'HALF', 'BFLOAT')


@dataclass(frozen=True)
class LayerCounts:
    """`layer_count` is 0 where the library does not say. `attention` names kernels that compute
    attention in one piece; `unpacked` counts layers that give out a whole weight as floats.
    """

    layer_count: int
    attention: tuple[str, ...]
    unpacked: int


def engine_layers(engine: Engine) -> list[Layer]:
    """Returns the layers as TensorRT's JSON has them; none where this TensorRT does not tell."""
    loaded: trt.ICudaEngine = engine.engine
    inspector: trt.EngineInspector = loaded.create_engine_inspector()
    text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text).get('Layers', [])
    except (ValueError, AttributeError):
        return []
    return [layer for layer in layers if isinstance(layer, dict)]


def layer_counts(layers: Sequence[Layer], weights: Set[tuple[int, ...]]) -> LayerCounts:
    """Counts in the layers of an engine whose weights of integers have these shapes."""
    kernels = {kernel for layer in layers for kernel in _kernels(layer) if _is_attention(kernel)}
    unpacked = sum(
        any(_is_weight(output, weights) for output in _tensors(layer, 'Outputs'))
        for layer in layers
    )
    return LayerCounts(len(layers), tuple(sorted(kernels))[:4], unpacked)


def _kernels(layer: Layer) -> list[str]:
    return [str(layer.get(name, '')) for name in ('TacticName', 'Name')]


def _is_attention(kernel: str) -> bool:
    return any(part in kernel.lower() for part in ATTENTION)


def _tensors(layer: Layer, name: str) -> list[Layer]:
    found = layer.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _is_weight(tensor: Layer, weights: Set[tuple[int, ...]]) -> bool:
    sizes = tensor.get('Dimensions')
    shape = tuple(size for size in sizes if size != 1) if isinstance(sizes, list) else ()
    kind = str(tensor.get('Format/Datatype', tensor.get('Format', ''))).upper()
    is_float = any(name in kind for name in FLOATS)
    return is_float and (shape in weights or shape[::-1] in weights)
