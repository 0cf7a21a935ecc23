# SPDX-License-Identifier: Apache-2.0
"""The LLM as one graph for prefill, decoding and verification, with the cache in one of three
forms.

FULL and FIXED_LENGTH write keys and values into the cache in place. FULL attends over the whole
cache that it is given, so its length follows the mask; FIXED_LENGTH is given a cache of one length
and cuts it to the mask's. TWO_PART reads the cache, keeps to operators of opset 20, and returns the
new keys and values for the caller to copy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from penguin_ros.backends.base.manifest import DECODER, FIXED_LENGTH, FULL, TWO_PART
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
from penguin_ros.export.network_weights import StoredDecoder, StoredLayer

OPSETS = {FULL: 24, FIXED_LENGTH: 24, TWO_PART: 21}
"""The opset of a variant; the 21 is for block-wise DequantizeLinear, all else there is older."""

MASKED = -3.0e38
"""What is added to a score to take it out of the softmax."""

END = 2**31 - 1
"""The end of a slice that takes all the rest."""

Attend = Callable[[int, str, str, str], str]
"""Mixes values: (layer, queries, keys, values), heads first, to the result."""


def decoder_graph(weights: StoredDecoder, variant: str, compute: str, max_length: int) -> Graph:
    """Makes the graph of a variant. Its inputs and outputs are described in docs/bundles.md; the
    cache's format is `compute`.
    """
    shape = weights.stack.shape
    graph = Graph(f'{DECODER}_{variant}', OPSETS[variant], compute)
    x = graph.input('inputs_embeds', compute, (1, 'rows', shape.hidden_size))
    graph.watched(RESIDUAL, x)
    positions = graph.input('position_ids', 'int64', (1, 'rows'))
    turned = _rotation(graph, positions, weights)
    attend, new = (
        _two_part(graph, shape)
        if variant == TWO_PART
        else _in_place(graph, shape, variant, max_length)
    )
    wanted = graph.input('logits_indices', 'int64', ('wanted',))
    for index, layer in enumerate(weights.stack.layers):
        with graph.scope(f'layers.{index}'):
            x = _layer(graph, x, layer, shape, turned, partial(attend, index))
    rows = rms_norm(
        graph, graph.op('Gather', x, wanted, axis=1), weights.stack.norm, weights.stack.norm_eps
    )
    with graph.scope('head'):
        scores = linear(graph, rows, weights.head)
        if weights.head.outputs > weights.vocabulary_size:
            # What the head was filled up with stands for no token.
            end = graph.integers(weights.vocabulary_size)
            scores = graph.op('Slice', scores, graph.integers(0), end, graph.integers(2))
        logits = to(graph, scores, 'float32')
    graph.output('logits', logits, 'float32', (1, 'wanted', weights.vocabulary_size))
    if variant == TWO_PART:
        packed = graph.op('Concat', *new, axis=0)
        graph.output(
            'new_kv', packed, compute, (2 * shape.layers, shape.kv_heads, 'rows', shape.head_dim)
        )
    return graph


def _rotation(graph: Graph, positions: str, weights: StoredDecoder) -> Callable[[str], str]:
    """Returns a function that rotates heads (1, heads, rows, head_dim) by their positions."""
    tables = [graph.weight(table) for table in weights.rotation]
    if is_fused(graph):
        return lambda x: graph.op('RotaryEmbedding', x, *tables, positions)
    cosine, sine = (
        graph.op('Unsqueeze', graph.op('Gather', table, positions, axis=0), graph.integers(1))
        for table in tables
    )
    cosine = graph.op('Concat', cosine, cosine, axis=-1)
    sine = graph.op('Concat', graph.op('Neg', sine), sine, axis=-1)
    return lambda x: turn(graph, x, cosine, sine, weights.stack.shape.head_dim)


def _layer(
    graph: Graph,
    x: str,
    layer: StoredLayer,
    shape: TransformerShape,
    turned: Callable[[str], str],
    attend: Callable[[str, str, str], str],
) -> str:
    queries, keys, values = (head_first(graph, part) for part in heads(graph, x, layer, shape))
    return finish(graph, x, attend(turned(queries), turned(keys), values), layer, shape)


def _in_place(
    graph: Graph, shape: TransformerShape, variant: str, max_length: int
) -> tuple[Attend, list[str]]:
    position = graph.input('write_indices', 'int64', (1,))
    mask = graph.input('attention_mask', 'bool', (1, 1, 'rows', 'length'))
    size = (1, shape.kv_heads, 'length' if variant == FULL else max_length, shape.head_dim)
    length = graph.op('Shape', mask, start=3, end=4) if variant == FIXED_LENGTH else ''

    def held(kind: str, index: int, new: str) -> str:
        past = graph.input(f'past_{kind}_{index}', graph.compute, size)
        present = graph.op('TensorScatter', past, new, position, axis=2, mode='linear')
        graph.output(f'present_{kind}_{index}', present, graph.compute, size)
        if not length:
            return present
        return graph.op('Slice', present, graph.integers(0), length, graph.integers(2))

    def attend(index: int, queries: str, keys: str, values: str) -> str:
        return graph.op(
            'Attention',
            queries,
            held('key', index, keys),
            held('value', index, values),
            mask,
            scale=shape.head_dim**-0.5,
        )

    return attend, []


def _two_part(graph: Graph, shape: TransformerShape) -> tuple[Attend, list[str]]:
    """Here the mask covers the cache first and the new rows after it: (rows, length + rows)."""
    mask = graph.input('attention_mask', 'bool', (1, 1, 'rows', 'length_and_rows'))
    bias = graph.op('Where', mask, graph.number(0.0, 'float32'), graph.number(MASKED, 'float32'))
    groups = shape.heads // shape.kv_heads
    # (1, 1, rows, n) to (1, 1, groups * rows, n), for the queries that share a head of keys
    bias = graph.op('Concat', *[bias] * groups, axis=2) if groups > 1 else bias
    size = (1, shape.kv_heads, 'length', shape.head_dim)
    new: list[str] = []

    def scores(queries: str, keys: str) -> str:
        product = graph.op('MatMul', queries, graph.op('Transpose', keys, perm=[0, 1, 3, 2]))
        return to(graph, product, 'float32')

    def attend(index: int, queries: str, keys: str, values: str) -> str:
        past = [
            graph.input(f'past_{kind}_{index}', graph.compute, size) for kind in ('key', 'value')
        ]
        new.extend((keys, values))
        stacked = grouped(graph, scaled(graph, queries, shape), shape)
        both = graph.op('Concat', scores(stacked, past[0]), scores(stacked, keys), axis=-1)
        shares = softmax(graph, graph.op('Add', both, bias))
        length = graph.op('Shape', past[0], start=2, end=3)
        old = graph.op('Slice', shares, graph.integers(0), length, graph.integers(3))
        fresh = graph.op('Slice', shares, length, graph.integers(END), graph.integers(3))
        mixed = graph.op('Add', graph.op('MatMul', old, past[1]), graph.op('MatMul', fresh, values))
        return graph.op('Reshape', mixed, graph.integers(0, shape.heads, -1, shape.head_dim))

    return attend, new
