# SPDX-License-Identifier: Apache-2.0
"""Which matrices a bundle stores, from which tensors, in which format and size. Knows shapes and
formats, reads nothing.

Which number format each part of a bundle gets, and what is refused. Knows names of formats, no
weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING
from penguin_ros.errors import BuildRefused
from penguin_ros.export.weight_file import byte_length

BACKENDS = ('onnxruntime', 'tensorrt')
DEVICES = ('cpu', 'cuda')
FLOATS = ('float32', 'float16', 'bfloat16')
ROWWISE = 'w8a8'
"""int8 weights, and activations rounded to int8 with one scale per row: products of integers, a row
depending on itself alone. Faster in long prefills and in the encoder than int8, at a larger loss:
there ONNX Runtime has a scale per block of a row.
"""

PRECISIONS = (*FLOATS, 'int8', 'int4', ROWWISE)
GPU_PRECISIONS = (*FLOATS, 'int8', 'int4')
ENCODER_PRECISIONS = (*FLOATS, 'int8', ROWWISE)
HEAD_PRECISIONS = (*FLOATS, 'int8', 'int4')
BLOCK_SIZES = (256, 128, 64, 32)
"""Inputs of a product that share a scale. Larger blocks are multiplied faster (ONNX Runtime, per
core: 226 Gop/s at 256, 197 at 128, 147 at 64) at a larger loss.
"""

DEFAULT_BLOCK_SIZE = 128


@dataclass(frozen=True)
class BuildChoice:
    """What is asked for: `precision` of the LLM's linears; of `head` and `vision`, and of what is
    no weight (`compute`), empty for the default; `block_size` of int4 and int8 blocks, one of
    BLOCK_SIZES, where it divides.
    """

    backend: str = 'onnxruntime'
    precision: str = 'float32'
    device: str = 'cpu'
    head: str = ''
    vision: str = ''
    compute: str = ''
    block_size: int = DEFAULT_BLOCK_SIZE


@dataclass(frozen=True)
class PrecisionPlan:
    """Formats of weights by part, and `compute` of activations and cache; the encoder computes in
    `vision_compute`.
    """

    compute: str
    linears: str
    head: str
    vision: str
    vision_compute: str
    block_size: int = DEFAULT_BLOCK_SIZE


def plan_precision(choice: BuildChoice) -> PrecisionPlan:
    """BuildRefused names what does not go together and what does."""
    _check(choice)
    is_gpu = choice.backend == 'tensorrt' or choice.device == 'cuda'
    is_integer = choice.precision not in FLOATS
    compute = choice.compute or (
        ('float16' if is_gpu else 'float32') if is_integer else choice.precision
    )
    _refuse_float('the LLM', choice.precision, compute)
    head = choice.head or ('int8' if is_integer else compute)
    vision = choice.vision or (
        _default_encoder_precision(choice.precision) if is_integer and not is_gpu else compute
    )
    _refuse_float('the head', head, compute)
    plan = PrecisionPlan(
        compute,
        choice.precision,
        head,
        vision,
        vision if vision in FLOATS else compute,
        choice.block_size,
    )
    if 'bfloat16' in (plan.compute, plan.vision_compute) and not is_gpu:
        raise BuildRefused(
            'bfloat16 does not run on the CPU with ONNX Runtime',
            'its CPU provider has no bfloat16 MatMul, Add and Softmax',
            'Take --precision float32, int8 or int4, or --device cuda',
        )
    if ROWWISE in (plan.linears, plan.vision) and (is_gpu or plan.compute != 'float32'):
        raise BuildRefused(
            f'{ROWWISE} runs on the CPU with ONNX Runtime, in float32 otherwise',
            'TensorRT has no scale per row of activations',
            'Take int8 or int4',
        )
    return plan


def _default_encoder_precision(precision: str) -> str:
    return ROWWISE if precision == ROWWISE else 'int8'


def _check(choice: BuildChoice) -> None:
    for what, value, known in (
        ('backend', choice.backend, BACKENDS),
        ('device', choice.device, DEVICES),
        ('precision', choice.precision, PRECISIONS),
        ('precision of the head', choice.head, HEAD_PRECISIONS),
        ('precision of the encoder', choice.vision, ENCODER_PRECISIONS),
        ('precision of activations', choice.compute, FLOATS),
    ):
        if value not in known and (value or what in ('backend', 'device', 'precision')):
            raise BuildRefused(f'{what} {value!r} is unknown', f'there are {", ".join(known)}')
    if choice.block_size not in BLOCK_SIZES:
        raise BuildRefused(
            f'blocks of {choice.block_size} are unknown',
            f'there are {", ".join(map(str, BLOCK_SIZES))}',
        )


def _refuse_float(part: str, asked: str, compute: str) -> None:
    """A float format of one part of the decoder is that of all of it."""
    if asked in FLOATS and asked != compute:
        raise BuildRefused(
            f'{part} cannot be {asked}',
            f'the graph around it computes in {compute}',
            f'Take {compute}, int8 or int4 for it',
        )


INT8_BLOCKS = {'onnxruntime': (*BLOCK_SIZES, 16), 'tensorrt': ()}
"""Inputs that share a scale, the first that divides and is not above the size asked for counts;
else one scale per output. ONNX Runtime is faster with blocks up to 256 (and fifteen times slower
above); TensorRT's int8 weights have one scale per output.
"""


@dataclass(frozen=True)
class MatrixPlan:
    """A matrix (inputs, outputs) made of the rows `first` .. `first + outputs` of `sources` on top
    of one another.

    `kind` is a format of weight files; with int8 and int4 `block_size` inputs share a scale, 0:
    all. `is_rowwise`: the input of the product is rounded to int8 too, row by row. `why`: the
    reason for not taking the format that was asked for.
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
        encoder, hidden, kind = (
            self._shape.encoder,
            self._shape.llm.hidden_size,
            self._precision.vision,
        )
        return [
            self._plan(
                'encoder.patch_embedding',
                {PATCH_EMBEDDING: encoder.hidden_size},
                self._shape.patch_values,
                kind,
            ),
            *self._stack('encoder', encoder, kind),
            self._plan('projector.0', {'projector.0.weight': hidden}, encoder.hidden_size, kind),
            self._plan('projector.2', {'projector.2.weight': hidden}, hidden, kind),
        ]

    def decoder(self, head_parts: int) -> list[MatrixPlan]:
        """Of the LLM and its head, which comes in `head_parts` pieces: a builder needs working
        memory for the largest.
        """
        return [
            *self._stack('llm', self._shape.llm, self._precision.linears),
            *self._head(head_parts),
        ]

    def _head(self, parts: int) -> list[MatrixPlan]:
        rows, hidden = self._shape.vocabulary_size, self._shape.llm.hidden_size
        cuts = [rows * part // parts // 2 * 2 for part in range(parts)] + [
            rows
        ]  # even, for pairs of int4
        return [
            self._plan(
                f'llm.lm_head.{part}',
                {HEAD: cuts[part + 1] - cuts[part]},
                hidden,
                self._precision.head,
                cuts[part],
            )
            for part in range(parts)
        ]

    def _stack(self, prefix: str, shape: TransformerShape, kind: str) -> list[MatrixPlan]:
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        hidden, ffn = shape.hidden_size, shape.ffn_size
        products: tuple[tuple[str, dict[str, int], int], ...] = (
            (
                'self_attn.qkv',
                {'self_attn.q_proj': queries, 'self_attn.k_proj': keys, 'self_attn.v_proj': keys},
                hidden,
            ),
            ('self_attn.o_proj', {'self_attn.o_proj': hidden}, queries),
            ('mlp.gate_up', {'mlp.gate_proj': ffn, 'mlp.up_proj': ffn}, hidden),
            ('mlp.down_proj', {'mlp.down_proj': hidden}, ffn),
        )
        layers = (f'{prefix}.layers.{index}.' for index in range(shape.layers))
        return [
            self._plan(
                layer + name,
                {f'{layer}{source}.weight': rows for source, rows in sources.items()},
                inputs,
                kind,
            )
            for layer in layers
            for name, sources, inputs in products
        ]

    def _plan(
        self, name: str, sources: Mapping[str, int], inputs: int, wanted: str, first: int = 0
    ) -> MatrixPlan:
        """`sources`: tensors and how many outputs each gives."""
        kind, block, why = wanted, 0, ''
        if kind == 'int4':
            block = self._block(BLOCK_SIZES, inputs)
            why = (
                ''
                if block
                else f'no block of {BLOCK_SIZES[-1]} to {self._precision.block_size} divides {inputs} inputs'
            )
            why = why or (
                'the number of outputs is odd' if any(rows % 2 for rows in sources.values()) else ''
            )
            kind = 'int8' if why else kind
        if kind == 'int8':
            block = self._block(INT8_BLOCKS[self._backend], inputs)
        stored = 'int8' if kind == ROWWISE else kind
        return MatrixPlan(
            name,
            tuple(sources),
            inputs,
            sum(sources.values()),
            stored,
            block,
            first,
            kind == ROWWISE,
            why,
        )

    def _block(self, sizes: Sequence[int], inputs: int) -> int:
        return next(
            (size for size in sizes if size <= self._precision.block_size and inputs % size == 0), 0
        )


def stored_bytes(plan: MatrixPlan, compute: str) -> int:
    """Of values and scales in a weight file."""
    values = byte_length(plan.kind, (plan.inputs, plan.outputs))
    return (
        values + byte_length(compute, (plan.blocks, plan.outputs)) if plan.is_quantised else values
    )
