# SPDX-License-Identifier: Apache-2.0
"""The copy of a graph that TensorRT gets: what is changed in it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.base.manifest import ENCODER
from penguin_ros.export.tensorrt.graph import tensorrt_copy


def outputs(model: Any, folder: Path, inputs: dict[str, Any]) -> list[np.ndarray]:
    onnx.external_data_helper.load_external_data_for_model(model, str(folder))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return list(session.run(None, inputs))


@pytest.mark.parametrize('variant', ['fused', 'plain'])
@pytest.mark.parametrize('merged', [1, 4])
def test_the_mean_of_a_merge_block_is_a_sum_and_no_product_of_matrices(
    graphs: dict[str, Path], variant: str, merged: int
) -> None:
    """TensorRT for RTX has no float32 product for cards of the RTX 20 family."""
    bundle = open_bundle(graphs['float32'])
    graph = bundle.graph(ENCODER, variant)
    path = bundle.file(graph.file)
    original = onnx.load_model(path, load_external_data=False)
    copy = tensorrt_copy(path, False)
    assert sum(node.op_type == 'MatMul' for node in copy.graph.node) == (
        sum(node.op_type == 'MatMul' for node in original.graph.node) - 1
    )
    assert not any(
        'merge_weights' in node.input for node in copy.graph.node if node.op_type == 'MatMul'
    )
    random = np.random.default_rng(7)
    sizes = {'frames': 1, 'patches': 4 * merged, 'merged': merged}
    inputs = {
        tensor.name: random.standard_normal(
            [size if isinstance(size, int) else sizes[size] for size in tensor.shape]
        ).astype(np.dtype(tensor.dtype))
        for tensor in graph.inputs
    }
    for mine, theirs in zip(
        outputs(copy, path.parent, inputs), outputs(original, path.parent, inputs), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
