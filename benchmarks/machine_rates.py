# SPDX-License-Identifier: Apache-2.0
"""What this machine can do at best, measured: bytes read and numbers multiplied in a second."""

from __future__ import annotations

import numpy as np

from penguin_ros.benchmark.machine import best, read_bandwidth


def float32_rate(threads: int) -> float:
    """The multiplications and additions per second in a product of float32 matrices in ONNX
    Runtime, as in the attention of the encoder.
    """
    return _rate(threads, np.float32, 'MatMul')


def int8_rate(threads: int) -> float:
    """The same with int8 matrices, summed in int32: the most that any int8 or int4 product can
    reach here.
    """
    return _rate(threads, np.uint8, 'MatMulInteger')


def rates(threads: int) -> dict[str, float]:
    """The bandwidth and both rates of this machine as it is now."""
    return {
        'bandwidth': read_bandwidth(threads),
        'int8': int8_rate(threads),
        'float32': float32_rate(threads),
    }


def _rate(threads: int, kind: type, operator: str) -> float:
    import onnxruntime
    from onnx import TensorProto, helper

    rows, inputs, outputs = 1024, 2048, 4096
    float32 = TensorProto.FLOAT
    types = (
        (float32,) * 3
        if kind is np.float32
        else (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32)
    )
    weights = (
        np.random.default_rng(0)
        .integers(-100, 100, (inputs, outputs))
        .astype(kind if kind is np.float32 else np.int8)
    )
    graph = helper.make_graph(
        [helper.make_node(operator, ['a', 'b'], ['c'])],
        'product',
        [helper.make_tensor_value_info('a', types[0], (rows, inputs))],
        [helper.make_tensor_value_info('c', types[2], (rows, outputs))],
        [helper.make_tensor('b', types[1], weights.shape, weights.tobytes(), raw=True)],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    values = np.ones((rows, inputs), kind)
    return 2 * rows * inputs * outputs / best(lambda: session.run(None, {'a': values}))
