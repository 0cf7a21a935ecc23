# SPDX-License-Identifier: Apache-2.0
"""Which matrices a bundle stores, from which tensors, in which format and size. Knows shapes and formats, reads nothing."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING
from penguin_ros.export.precision import BLOCK_SIZES, ROWWISE, PrecisionPlan
from penguin_ros.export.weight_file import byte_length

INT8_BLOCKS = {'onnxruntime': (*BLOCK_SIZES, 16), 'tensorrt': ()}
"""Inputs that share a scale, the first that divides and is not above the size asked for counts; else one scale per output. ONNX
Runtime is faster with blocks up to 256 (and fifteen times slower above); TensorRT's int8 weights have one scale per output."""


@dataclass(frozen=True)
class MatrixPlan:
    """A matrix (inputs, outputs) made of the rows `first` .. `first + outputs` of `sources` on top of one another.

    `kind` is a format of weight files; with int8 and int4 `block_size` inputs share a scale, 0: all. `is_rowwise`: the input of
    the product is rounded to int8 too, row by row. `why`: the reason for not taking the format that was asked for.
    """

    name: str
    sources: tuple[str, ...]
    inputs: int
    outputs: int
    kind: str
    block_size: int = 0
    first: int = 0
    is_rowwise: bool = False
    why: str = ''

    @property
    def is_quantised(self) -> bool:
        """Whether values are integers."""
        return self.kind in ('int8', 'int4')

    @property
    def blocks(self) -> int:
        """Scales per output."""
        return self.inputs // self.block_size if self.block_size else 1


class MatrixPlanner:
    """Plans the matrices of one checkpoint for one backend."""

    def __init__(self, shape: CheckpointShape, precision: PrecisionPlan, backend: str) -> None:
        self._shape, self._precision, self._backend = shape, precision, backend

    def vision(self) -> list[MatrixPlan]:
        """Of encoder and projector."""
        encoder, hidden, kind = self._shape.encoder, self._shape.llm.hidden_size, self._precision.vision
        return [self._plan('encoder.patch_embedding', {PATCH_EMBEDDING: encoder.hidden_size}, self._shape.patch_values, kind),
                *self._stack('encoder', encoder, kind),
                self._plan('projector.0', {'projector.0.weight': hidden}, encoder.hidden_size, kind),
                self._plan('projector.2', {'projector.2.weight': hidden}, hidden, kind)]

    def decoder(self, head_parts: int) -> list[MatrixPlan]:
        """Of the LLM and its head, which comes in `head_parts` pieces: a builder needs working memory for the largest."""
        return [*self._stack('llm', self._shape.llm, self._precision.linears), *self._head(head_parts)]

    def _head(self, parts: int) -> list[MatrixPlan]:
        rows, hidden = self._shape.vocabulary_size, self._shape.llm.hidden_size
        cuts = [rows * part // parts // 2 * 2 for part in range(parts)] + [rows]  # even, for pairs of int4
        return [self._plan(f'llm.lm_head.{part}', {HEAD: cuts[part + 1] - cuts[part]}, hidden, self._precision.head, cuts[part])
                for part in range(parts)]

    def _stack(self, prefix: str, shape: TransformerShape, kind: str) -> list[MatrixPlan]:
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        hidden, ffn = shape.hidden_size, shape.ffn_size
        products: tuple[tuple[str, dict[str, int], int], ...] = (
            ('self_attn.qkv', {'self_attn.q_proj': queries, 'self_attn.k_proj': keys, 'self_attn.v_proj': keys}, hidden),
            ('self_attn.o_proj', {'self_attn.o_proj': hidden}, queries),
            ('mlp.gate_up', {'mlp.gate_proj': ffn, 'mlp.up_proj': ffn}, hidden),
            ('mlp.down_proj', {'mlp.down_proj': hidden}, ffn))
        layers = (f'{prefix}.layers.{index}.' for index in range(shape.layers))
        return [self._plan(layer + name, {f'{layer}{source}.weight': rows for source, rows in sources.items()}, inputs, kind)
                for layer in layers for name, sources, inputs in products]

    def _plan(self, name: str, sources: Mapping[str, int], inputs: int, wanted: str, first: int = 0) -> MatrixPlan:
        """`sources`: tensors and how many outputs each gives."""
        kind, block, why = wanted, 0, ''
        if kind == 'int4':
            block = self._block(BLOCK_SIZES, inputs)
            why = '' if block else f'no block of {BLOCK_SIZES[-1]} to {self._precision.block_size} divides {inputs} inputs'
            why = why or ('the number of outputs is odd' if any(rows % 2 for rows in sources.values()) else '')
            kind = 'int8' if why else kind
        if kind == 'int8':
            block = self._block(INT8_BLOCKS[self._backend], inputs)
        stored = 'int8' if kind == ROWWISE else kind
        return MatrixPlan(name, tuple(sources), inputs, sum(sources.values()), stored, block, first, kind == ROWWISE, why)

    def _block(self, sizes: Sequence[int], inputs: int) -> int:
        return next((size for size in sizes if size <= self._precision.block_size and inputs % size == 0), 0)


def stored_bytes(plan: MatrixPlan, compute: str) -> int:
    """Of values and scales in a weight file."""
    values = byte_length(plan.kind, (plan.inputs, plan.outputs))
    return values + byte_length(compute, (plan.blocks, plan.outputs)) if plan.is_quantised else values
