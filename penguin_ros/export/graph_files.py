# SPDX-License-Identifier: Apache-2.0
"""Which graphs a bundle holds for its backend, written to files. Knows names and variants, not what is in a graph."""
from __future__ import annotations

from pathlib import Path

from penguin_ros.backends.bundle_manifest import GraphSpec
from penguin_ros.export import decoder_graph, vision_graph
from penguin_ros.export.graph import Graph
from penguin_ros.export.network_weights import StoredLanguage, StoredVision
from penguin_ros.export.precision import PrecisionPlan

DECODERS = {'onnxruntime': ('full', 'two_part'), 'tensorrt': ('window', 'two_part')}
"""By backend, the best first, which is called decoder.onnx; the last runs on older versions of the backend."""

VISIONS = {'onnxruntime': ('fused',), 'tensorrt': ('fused', 'plain')}
STAGES = {'onnxruntime': ('fused',), 'tensorrt': ()}


def write_decoders(folder: Path, weights: StoredLanguage, plan: PrecisionPlan, backend: str, max_length: int) -> list[GraphSpec]:
    """The LLM in each variant of the backend."""
    graphs = {variant: decoder_graph.decoder_graph(weights, variant, plan.compute, max_length) for variant in DECODERS[backend]}
    return [_write(folder, graph, decoder_graph.PART, variant) for variant, graph in graphs.items()]


def write_visions(folder: Path, weights: StoredVision, plan: PrecisionPlan, backend: str) -> list[GraphSpec]:
    """Encoder and projector whole and in stages."""
    compute = plan.vision_compute
    whole = [_write(folder, vision_graph.vision_graph(weights, variant, compute), vision_graph.PART, variant)
             for variant in VISIONS[backend]]
    return whole + [_write(folder, graph, vision_graph.STAGE, variant, index) for variant in STAGES[backend]
                    for index, graph in enumerate(vision_graph.stage_graphs(weights, variant, compute))]


def _write(folder: Path, graph: Graph, part: str, variant: str, index: int | None = None) -> GraphSpec:
    is_best = variant in ('full', 'window', 'fused')
    name = part + ('' if is_best else f'_{variant}') + ('' if index is None else f'_{index:02}') + '.onnx'
    content = graph.model().SerializeToString()
    (folder / name).write_bytes(content)
    return GraphSpec(part, variant, index or 0, name, graph.opset, tuple(sorted(graph.files)), graph.quantised,
                     tuple(graph.inputs), tuple(graph.outputs))
