# SPDX-License-Identifier: Apache-2.0
"""A graph cut to two layers is the graph of a network that has two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import built, checkpoint_of, distance
from support.needed_packages import onnx, onnxruntime

from penguin_ros.export.tensorrt.graph import tensorrt_copy
from penguin_ros.export.tensorrt.shallow import shallow_graph
from penguin_ros.testing.random_checkpoint import SHAPES

LENGTH = 32


def stack_of(layers: int) -> dict[str, object]:
    return {
        'llm': replace(SHAPES['tiny'].llm, layers=layers),
        'encoder': replace(SHAPES['tiny'].encoder, layers=layers),
    }


def random_inputs(inputs: list[onnx.ValueInfoProto]) -> dict[str, np.ndarray]:
    """Values for every input, the same for two graphs of the same inputs."""
    sizes = {'rows': 5, 'wanted': 1, 'length': LENGTH, 'length_and_rows': LENGTH + 5}
    sizes |= {'frames': 1, 'patches': 12, 'merged': 4}
    numbers, values = np.random.default_rng(0), {}
    for value in inputs:
        shape = [
            size.dim_value or sizes[size.dim_param] for size in value.type.tensor_type.shape.dim
        ]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        values[value.name] = np.ones(shape, kind)
        if kind == np.float32:
            values[value.name] = numbers.standard_normal(shape, np.float32)
    return values


@pytest.mark.parametrize('variant', ['window', 'two_part', 'fused', 'plain'])
@pytest.mark.parametrize('precision', ['float32', 'int4'])
def test_two_layers_of_more_are_a_network_of_two(
    tmp_path: Path, variant: str, precision: str
) -> None:
    """Weights of the first two layers, head and tables are the same; what comes out is, too."""
    results = []
    for layers in (3, 2):
        checkpoint = checkpoint_of(tmp_path / f'c{layers}', **stack_of(layers))
        bundle = built(
            checkpoint, tmp_path / f'b{layers}', 'tensorrt', precision, LENGTH, compute='float32'
        )
        part = 'decoder' if variant in ('window', 'two_part') else 'vision'
        spec = bundle.graph(part, variant)
        model = tensorrt_copy(bundle.file(spec.file), False)
        cut = shallow_graph(model, spec)
        assert (cut is None) == (layers == 2)
        if cut is not None:
            assert [tensor.name for tensor in cut.spec.inputs] == [
                value.name for value in cut.model.graph.input
            ]
            model, spec = cut.model, cut.spec
        assert spec.quantised == sum(
            node.op_type == 'DequantizeLinear' for node in model.graph.node
        )
        results.append((model, bundle.path))
    (ours, folder), (theirs, _) = results
    assert [value.name for value in ours.graph.input] == [v.name for v in theirs.graph.input]
    assert [value.name for value in ours.graph.output] == [v.name for v in theirs.graph.output]
    outputs = []
    for model in (ours, theirs):
        names = {tensor.name for tensor in model.graph.initializer}
        assert names <= {tensor.name for tensor in theirs.graph.initializer}
        # The weights of both from one file, since random checkpoints of other depths differ.
        copy = onnx.ModelProto.FromString(ours.SerializeToString())
        del copy.graph.node[:]
        copy.graph.node.extend(model.graph.node)
        onnx.external_data_helper.load_external_data_for_model(copy, str(folder))
        session = onnxruntime.InferenceSession(
            copy.SerializeToString(), providers=['CPUExecutionProvider']
        )
        outputs.append(session.run(None, random_inputs(list(model.graph.input))))
    for got, expected in zip(*outputs, strict=True):
        assert distance(got, expected) < 1e-6
