# SPDX-License-Identifier: Apache-2.0
"""What a Qwen3 layer is made of, as graph nodes, for encoder and decoder.

Rows are (batch, rows, size), heads (batch, heads, rows, head_dim). Two sets of operators compute
the same: the fused ones of opset 23, and plain ones for runtimes that are older than those.
"""

from __future__ import annotations

from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.export.graph import ELEMENT_TYPES, GATED, RESIDUAL, Graph
from penguin_ros.export.network_weights import StoredLayer, StoredLinear, StoredMatrix
from penguin_ros.export.weight_file import StoredTensor

FUSED_OPSET = 23
FLOAT = ELEMENT_TYPES['float32']
LEVELS = 127.0
TINY = 1e-30


def is_fused(graph: Graph) -> bool:
    """Returns whether the graph may use RMSNormalization and Attention."""
    return graph.opset >= FUSED_OPSET


def linear(graph: Graph, x: str, weights: StoredLinear) -> str:
    """Maps x (..., inputs) to (..., outputs)."""
    products = [
        _integer_product(graph, x, part)
        if part.is_rowwise
        else graph.op('MatMul', x, _matrix(graph, part))
        for part in weights.parts
    ]
    product = products[0] if len(products) == 1 else graph.op('Concat', *products, axis=-1)
    if weights.bias is None:
        return product
    # ONNX Runtime would fuse an Add with a product of integers and there multiply the bias by the
    # scales of the rows.
    return graph.op(
        'Sum' if weights.parts[0].is_rowwise else 'Add', product, graph.weight(weights.bias)
    )


def _integer_product(graph: Graph, x: str, weights: StoredMatrix) -> str:
    """Multiplies x, rounded to 255 levels of its row's largest magnitude, by int8 weights in
    integers, and the product by both scales.

    The levels lie around 128 in uint8: ONNX Runtime has fast products of uint8 with int8, of int8
    with int8 it has none.
    """
    assert weights.scales is not None
    graph.quantised += 1
    largest = graph.op('ReduceMax', graph.op('Abs', x), graph.integers(-1), keepdims=1)
    largest = graph.op('Max', largest, graph.number(TINY))
    levels = graph.op('Mul', x, graph.op('Div', graph.number(LEVELS), largest))
    middle = graph.byte(128)
    rounded = graph.op('QuantizeLinear', levels, graph.number(1.0), middle)
    product = graph.op(
        'Cast', graph.op('MatMulInteger', rounded, graph.weight(weights.values), middle), to=FLOAT
    )
    step = graph.op('Mul', largest, graph.number(1 / LEVELS))
    # Both scales as one factor: ONNX Runtime knows this form, and then never makes the table of
    # factors.
    return graph.op('Mul', product, graph.op('Mul', step, graph.weight(weights.scales)))


def _matrix(graph: Graph, weights: StoredMatrix) -> str:
    values = graph.weight(weights.values)
    if weights.scales is None:
        return values
    graph.quantised += 1
    inputs = [values, graph.weight(weights.scales)]
    if weights.zero_points is not None:
        inputs.append(graph.weight(weights.zero_points))
    if weights.block_size:
        return graph.op('DequantizeLinear', *inputs, axis=0, block_size=weights.block_size)
    return graph.op('DequantizeLinear', *inputs, axis=1)


def rms_norm(graph: Graph, x: str, weight: StoredTensor, eps: float) -> str:
    """Norms the last axis in float32, rounded to the format of `x` before the weight, as Qwen3
    does.
    """
    if is_fused(graph):
        return graph.op(
            'RMSNormalization', x, graph.weight(weight), axis=-1, epsilon=eps, stash_type=1
        )
    wide = to(graph, x, 'float32')
    # This order of operators is the one that ONNX Runtime knows to be this norm.
    squares = graph.op('Pow', wide, graph.number(2.0, 'float32'))
    mean = graph.op('ReduceMean', squares, graph.integers(-1), keepdims=1)
    root = graph.op('Sqrt', graph.op('Add', mean, graph.number(eps, 'float32')))
    normed = to(graph, graph.op('Div', wide, root), graph.compute, 'float32')
    return graph.op('Mul', normed, graph.weight(weight))


def to(graph: Graph, x: str, dtype: str, source: str = '') -> str:
    """Casts unless the formats are the same; `source` is the compute format unless given."""
    return x if dtype == (source or graph.compute) else graph.op('Cast', x, to=ELEMENT_TYPES[dtype])


def heads(
    graph: Graph, x: str, layer: StoredLayer, shape: TransformerShape
) -> tuple[str, str, str]:
    """Returns queries and keys, both normed, and values of a layer, each (batch, rows, heads,
    head_dim), from the layer's input.
    """
    normed = rms_norm(graph, x, layer.input_norm, layer.norm_eps)
    count = shape.heads + 2 * shape.kv_heads
    stacked = graph.op(
        'Reshape', linear(graph, normed, layer.qkv), graph.integers(0, 0, count, shape.head_dim)
    )
    queries, keys, values = graph.ops(
        'Split', [stacked, graph.integers(shape.heads, shape.kv_heads, shape.kv_heads)], 3, axis=2
    )
    return (
        rms_norm(graph, queries, layer.q_norm, shape.norm_eps),
        rms_norm(graph, keys, layer.k_norm, shape.norm_eps),
        values,
    )


def head_first(graph: Graph, x: str) -> str:
    """Transposes (batch, rows, heads, head_dim) to (batch, heads, rows, head_dim), or back."""
    return graph.op('Transpose', x, perm=[0, 2, 1, 3])


def turn(graph: Graph, x: str, cosine: str, sine: str, head_dim: int) -> str:
    """Returns x * cosine + (x with its halves exchanged) * sine over the last axis; the sign of the
    first half is in `sine`.
    """
    first, second = graph.ops(
        'Split', [x, graph.integers(head_dim // 2, head_dim // 2)], 2, axis=-1
    )
    exchanged = graph.op('Concat', second, first, axis=-1)
    return graph.op('Add', graph.op('Mul', x, cosine), graph.op('Mul', exchanged, sine))


def grouped(graph: Graph, queries: str, shape: TransformerShape) -> str:
    """Reshapes (batch, heads, rows, head_dim) to (batch, kv_heads, groups * rows, head_dim), so
    that heads that share keys stand together.
    """
    return graph.op('Reshape', queries, graph.integers(0, shape.kv_heads, -1, shape.head_dim))


def softmax(graph: Graph, scores: str) -> str:
    """Applies softmax to the last axis of `scores` in float32; the result is in the compute
    format.
    """
    return to(graph, graph.op('Softmax', scores, axis=-1), graph.compute, 'float32')


def scaled(graph: Graph, queries: str, shape: TransformerShape) -> str:
    """Returns queries times 1 / sqrt(head_dim), multiplied in float32."""
    wide = graph.op(
        'Mul', to(graph, queries, 'float32'), graph.number(shape.head_dim**-0.5, 'float32')
    )
    return to(graph, wide, graph.compute, 'float32')


def finish(graph: Graph, x: str, mixed: str, layer: StoredLayer, shape: TransformerShape) -> str:
    """Computes the rest of a layer after attention: `mixed` (batch, heads, rows, head_dim) through
    output product and SwiGLU.
    """
    rows = graph.op(
        'Reshape', head_first(graph, mixed), graph.integers(0, 0, shape.heads * shape.head_dim)
    )
    x = graph.watched(RESIDUAL, graph.op('Add', x, linear(graph, rows, layer.output)))
    both = linear(graph, rms_norm(graph, x, layer.ffn_norm, layer.norm_eps), layer.gate_up)
    gate, up = graph.ops(
        'Split', [both, graph.integers(shape.ffn_size, shape.ffn_size)], 2, axis=-1
    )
    activated = graph.op('Mul', graph.op('Mul', gate, graph.op('Sigmoid', gate)), up)
    graph.watched(GATED, activated)
    return graph.watched(RESIDUAL, graph.op('Add', x, linear(graph, activated, layer.down)))
