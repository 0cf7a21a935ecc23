# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector as graphs: whole, or cut into stages that a runtime runs in blocks of rows.

Frames are the batch: they have one grid and never see each other. The whole graph takes all patches
of its frames. Stage i finishes layer i - 1 and begins layer i: whatever is computed for a row from
that row alone happens for the block of rows that is given, and its attention sees the keys and
values of all patches, which the caller collects. So a step is as small as its block.
"""

from __future__ import annotations

from penguin_ros.backends.base.manifest import ENCODER, ENCODER_STAGE, FUSED, PLAIN, PLAIN_HALF
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.export.graph import RESIDUAL, Graph
from penguin_ros.export.layer_graph import (
    finish,
    grouped,
    head_first,
    heads,
    is_fused,
    linear,
    rms_norm,
    scaled,
    softmax,
    to,
    turn,
)
from penguin_ros.export.network_weights import StoredEncoder, StoredLayer

OPSETS = {FUSED: 23, PLAIN_HALF: 21, PLAIN: 21}
"""The opset of a variant: with Attention and RMSNormalization as operators, or of opset 20 (21 is
for block-wise DequantizeLinear).

In PLAIN_HALF nothing stands between the two products of attention but a softmax in the format of
activations, the form that TensorRT is known to run as one kernel. Scores of normed queries and keys
are far from what overflows.
"""

SQRT_HALF = 0.5**0.5

State = tuple[str, str, str]
"""Queries, keys and values of a layer, heads first."""


def encoder_graph(weights: StoredEncoder, variant: str, compute: str) -> Graph:
    """Makes one graph of all of it, from patches of frames to features."""
    graph, stack = Graph(f'{ENCODER}_{variant}', OPSETS[variant], compute), weights.stack
    x = _embed(graph, weights, 'patches')
    rope = _rope(graph, stack.shape, 'patches')
    for index, layer in enumerate(stack.layers):
        with graph.scope(f'layers.{index}'):
            state = _begin(graph, x, layer, stack.shape, rope)
            mixed = _attend(graph, state, stack.shape, is_wide=variant != PLAIN_HALF)
            x = finish(graph, x, mixed, layer, stack.shape)
    _end(graph, x, weights)
    return graph


def stage_graphs(weights: StoredEncoder, variant: str, compute: str) -> list[Graph]:
    """Makes layers + 1 graphs: the first takes patches, the last gives features, and between them
    the state of a layer is passed.
    """
    count = len(weights.stack.layers) + 1
    return [_stage(weights, index, variant, compute) for index in range(count)]


def _stage(weights: StoredEncoder, index: int, variant: str, compute: str) -> Graph:
    graph = Graph(f'{ENCODER_STAGE}_{index}_{variant}', OPSETS[variant], compute)
    shape, layers = weights.stack.shape, weights.stack.layers
    if index == 0:
        x = _embed(graph, weights, 'rows')
    else:
        x = graph.input('hidden', compute, ('frames', 'rows', shape.hidden_size))
        state = _state_inputs(graph, shape)
        with graph.scope(f'layers.{index - 1}'):
            x = finish(graph, x, _attend(graph, state, shape), layers[index - 1], shape)
    if index == len(layers):
        _end(graph, x, weights)
        return graph
    with graph.scope(f'layers.{index}'):
        state = _begin(graph, x, layers[index], shape, _rope(graph, shape, 'rows'))
    graph.output('next_hidden', x, compute, ('frames', 'rows', shape.hidden_size))
    for name, value in zip(('queries', 'keys', 'values'), state, strict=True):
        count = shape.heads if name == 'queries' else shape.kv_heads
        graph.output(f'next_{name}', value, compute, ('frames', count, 'rows', shape.head_dim))
    return graph


def _state_inputs(graph: Graph, shape: TransformerShape) -> State:
    """Declares the state of a layer: queries of the rows, keys and values of all patches."""
    compute, head_dim = graph.compute, shape.head_dim
    keys_shape = ('frames', shape.kv_heads, 'patches', head_dim)
    return (
        graph.input('queries', compute, ('frames', shape.heads, 'rows', head_dim)),
        graph.input('keys', compute, keys_shape),
        graph.input('values', compute, keys_shape),
    )


def _embed(graph: Graph, weights: StoredEncoder, rows: str) -> str:
    pixels = graph.input('pixel_patches', 'float32', ('frames', rows, weights.patch_values))
    with graph.scope('patch_embedding'):
        x = linear(graph, to(graph, pixels, graph.compute, 'float32'), weights.patches)
    return graph.watched(RESIDUAL, x)


def _rope(graph: Graph, shape: TransformerShape, rows: str) -> tuple[str, str]:
    """Declares the rotary tables; returns them as (rows, 1, head_dim), which broadcasts over frames
    and heads.
    """
    names = [
        graph.input(name, 'float32', (rows, shape.head_dim)) for name in ('rope_cos', 'rope_sin')
    ]
    cosine, sine = (
        graph.op('Unsqueeze', to(graph, name, graph.compute, 'float32'), graph.integers(1))
        for name in names
    )
    return cosine, sine


def _begin(
    graph: Graph, x: str, layer: StoredLayer, shape: TransformerShape, rope: tuple[str, str]
) -> State:
    """Begins a layer."""
    queries, keys, values = heads(graph, x, layer, shape)
    queries, keys = (turn(graph, part, *rope, shape.head_dim) for part in (queries, keys))
    return head_first(graph, queries), head_first(graph, keys), head_first(graph, values)


def _attend(graph: Graph, state: State, shape: TransformerShape, is_wide: bool = True) -> str:
    """Lets every row see all patches of its frame; with `is_wide`, softmax is in float32."""
    queries, keys, values = state
    if is_fused(graph):
        return graph.op('Attention', queries, keys, values, scale=shape.head_dim**-0.5)
    stacked = grouped(graph, scaled(graph, queries, shape), shape)
    scores = graph.op('MatMul', stacked, graph.op('Transpose', keys, perm=[0, 1, 3, 2]))
    if is_wide:
        shares = softmax(graph, to(graph, scores, 'float32'))
    else:
        shares = graph.op('Softmax', scores, axis=-1)
    mixed = graph.op('MatMul', shares, values)
    return graph.op('Reshape', mixed, graph.integers(0, shape.heads, -1, shape.head_dim))


def _end(graph: Graph, x: str, weights: StoredEncoder) -> None:
    """Applies the final norm, the weighted mean of each merge block, and the projector."""
    size = weights.stack.shape.hidden_size
    shares = graph.input('merge_weights', 'float32', ('merged',))
    normed = rms_norm(graph, x, weights.stack.norm, weights.stack.norm_eps)
    # (frames, rows, size) to (frames, rows / merged, merged, size); what one block becomes is its
    # weighted sum
    block = graph.op(
        'Concat', graph.integers(0, -1), graph.op('Shape', shares), graph.integers(size), axis=0
    )
    blocks = graph.op('Reshape', to(graph, normed, 'float32'), block)
    row = graph.op('Unsqueeze', shares, graph.integers(0))
    merged = graph.op('Reshape', graph.op('MatMul', row, blocks), graph.integers(0, -1, size))
    merged = to(graph, merged, graph.compute, 'float32')
    graph.output('encoded', merged, graph.compute, ('frames', 'tokens', size))
    with graph.scope('projector'):
        hidden = linear(graph, merged, weights.projector[0])
        half, one = graph.number(0.5), graph.number(1.0)
        error = graph.op('Erf', graph.op('Mul', hidden, graph.number(SQRT_HALF)))
        activated = graph.op('Mul', graph.op('Mul', hidden, half), graph.op('Add', error, one))
        embeds = linear(graph, activated, weights.projector[1])
    graph.output('image_embeds', embeds, graph.compute, ('frames', 'tokens', weights.hidden_size))
