# SPDX-License-Identifier: Apache-2.0
"""A graph cut to its first layers: what TensorRT says of a form of the network it says of two
layers, too, in a minute instead of a quarter of an hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from penguin_ros.backends.base.manifest import GraphSpec, TensorSpec

LAYERS = 2
_IN_LAYER = re.compile(r'layers\.(\d+)/')
_CACHE = re.compile(r'(?:past|present)_(?:key|value)_(\d+)$')
NEW_CACHE = 'new_kv'


@dataclass(frozen=True)
class ShallowGraph:
    """The first LAYERS layers of a graph, with everything before and after them."""

    model: onnx.ModelProto
    spec: GraphSpec


def shallow_graph(model: onnx.ModelProto, spec: GraphSpec) -> ShallowGraph | None:
    """Returns the cut of a graph; None when it has no more layers than that."""
    ends = _ends_of_layers(model)
    if len(ends) <= LAYERS:
        return None
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    kept = [node for node in cut.graph.node if _layer(node) < LAYERS]
    for node in kept:
        if _layer(node) < 0:
            node.input[:] = [
                ends[LAYERS - 1] if name == ends[len(ends) - 1] else name for name in node.input
            ]
    for values in (cut.graph.input, cut.graph.output):
        left = [value for value in values if not _is_beyond(value.name)]
        _replace(values, left)
    _drop_lost(kept, cut)
    _replace(cut.graph.node, kept)
    used = {name for node in kept for name in node.input}
    _replace(
        cut.graph.initializer, [tensor for tensor in cut.graph.initializer if tensor.name in used]
    )
    for value in cut.graph.output:
        if value.name == NEW_CACHE:
            value.type.tensor_type.shape.dim[0].dim_value = 2 * LAYERS
    return ShallowGraph(cut, _shallow_spec(cut, spec))


def _shallow_spec(cut: onnx.ModelProto, spec: GraphSpec) -> GraphSpec:
    quantised = sum('DequantizeLinear' in node.op_type for node in cut.graph.node)

    def kept(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(tensor for tensor in tensors if not _is_beyond(tensor.name))

    return replace(spec, quantised=quantised, inputs=kept(spec.inputs), outputs=kept(spec.outputs))


def _ends_of_layers(model: onnx.ModelProto) -> Mapping[int, str]:
    """Returns the result of the last node of each layer."""
    return {_layer(node): node.output[0] for node in model.graph.node if _layer(node) >= 0}


def _layer(node: onnx.NodeProto) -> int:
    """Returns the layer that a node belongs to; -1 for what lies outside."""
    found = _IN_LAYER.match(node.name)
    return int(found.group(1)) if found else -1


def _is_beyond(name: str) -> bool:
    found = _CACHE.match(name)
    return found is not None and int(found.group(1)) >= LAYERS


def _drop_lost(nodes: list[onnx.NodeProto], model: onnx.ModelProto) -> None:
    """Takes results that are made no longer out of the node that gathers those of all layers."""
    made = {name for node in nodes for name in node.output}
    made |= {value.name for value in model.graph.input}
    made |= {tensor.name for tensor in model.graph.initializer}
    for node in nodes:
        if node.op_type == 'Concat':
            node.input[:] = [name for name in node.input if name in made]


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Makes `values`, some of those of a repeated field, all of it."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
