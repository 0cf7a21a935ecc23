# SPDX-License-Identifier: Apache-2.0
"""Which number format each part of a bundle gets, and which matrices it stores: from which tensors,
in which format and size. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING
from penguin_ros.errors import BuildRefused
from penguin_ros.export.weight_file import byte_length

BACKENDS = ('onnxruntime', 'tensorrt', 'cuda')
ON_GPU = {'tensorrt': 'TensorRT', 'cuda': 'the kernels'}
DEVICES = ('cpu', 'cuda')
FLOATS = ('float32', 'float16', 'bfloat16')
ROWWISE = 'w8a8'
"""int8 weights, and activations rounded to int8 with one scale per row: products of integers, a row
depending on itself alone. It is faster in long prefills and in the encoder than int8, at a larger
loss: there ONNX Runtime has a scale per block of a row.
"""

PRECISIONS = (*FLOATS, 'int8', 'int4', ROWWISE)
ENCODER_PRECISIONS = (*FLOATS, 'int8', ROWWISE)
HEAD_PRECISIONS = (*FLOATS, 'int8', 'int4')
BLOCK_SIZES = (256, 128, 64, 32)
"""Inputs of a product that share a scale. Larger blocks are multiplied faster (ONNX Runtime, per
core: 226 Gop/s at 256, 197 at 128, 147 at 64) at a larger loss.
"""

DEFAULT_BLOCK_SIZE = 128
INT8_BLOCKS = {'onnxruntime': (*BLOCK_SIZES, 16), 'tensorrt': (), 'cuda': ()}
"""Inputs of an int8 product that share a scale: the first that divides and is not above the size
asked for counts, else there is one scale per output. ONNX Runtime is faster with blocks up to 256
(and fifteen times slower above); int8 weights of TensorRT and of our own kernels have one scale per
output.
"""

HEAD_STEP = {'onnxruntime': 2, 'tensorrt': 128, 'cuda': 1}
"""The number of outputs of a part of the head is a multiple, so that pairs of int4, and the rows
that TensorRT's kernels load in pieces of 16 bytes, end where they should.
"""

UNPACKED = (
    '{part} in int8: NVIDIA documents narrow weights beside wide activations for TensorRT in int4 '
    'only; int8 may be turned to {compute} anew for every token, which reads more memory than '
    '{compute} weights do. Take {instead}, unless you measured it'
)
"""What a user is told who asks TensorRT for int8 weights. TensorRT for RTX kept them packed; on a
card of the RTX 20 family they are the only narrow ones.
"""


@dataclass(frozen=True)
class BuildChoice:
    """What is asked for: the `precision` of the LLM's linears; those of the `head`, of the encoder
    (`vision`) and of what is no weight (`compute`), empty for the default; the `block_size` of int4
    and int8 blocks, one of BLOCK_SIZES, where it divides.
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
    """The formats of weights by part, and `compute` of activations and cache; the encoder computes
    in `encoder_compute`.
    """

    compute: str
    linears: str
    head: str
    encoder: str
    encoder_compute: str
    block_size: int = DEFAULT_BLOCK_SIZE


def plan_precision(choice: BuildChoice) -> PrecisionPlan:
    """Returns the formats of all parts; BuildRefused names what does not go together and what
    does.
    """
    _check_known(choice)
    is_gpu = choice.backend in ON_GPU or choice.device == 'cuda'
    is_integer = choice.precision not in FLOATS
    compute = choice.compute
    if not compute:
        compute = choice.precision
        if is_integer:
            compute = 'float16' if is_gpu else 'float32'
    encoder = choice.vision
    if not encoder:
        encoder = compute
        if is_integer and not is_gpu:
            encoder = ROWWISE if choice.precision == ROWWISE else 'int8'
    plan = PrecisionPlan(
        compute=compute,
        linears=choice.precision,
        head=choice.head or _head(choice, compute),
        encoder=encoder,
        encoder_compute=encoder if encoder in FLOATS else compute,
        block_size=choice.block_size,
    )
    _check_plan(plan, is_gpu)
    if choice.backend == 'cuda':
        check_kernels(plan)
    _check_block(plan, choice.backend)
    return plan


def _head(choice: BuildChoice, compute: str) -> str:
    if choice.precision in FLOATS:
        return compute
    is_packed = choice.backend in ON_GPU and choice.precision == 'int4'
    return 'int4' if is_packed else 'int8'


def doubts(plan: PrecisionPlan, backend: str) -> list[str]:
    """Returns what a user should know who asked for this plan, in sentences; empty when it is
    sound.
    """
    if backend != 'tensorrt':
        return []
    parts = (
        ('linears', plan.linears, '--precision int4'),
        ('the head', plan.head, f'--head int4 or --head {plan.compute}'),
        ('the encoder', plan.encoder, f'--vision {plan.compute}'),
    )
    return [
        UNPACKED.format(part=part, compute=plan.compute, instead=instead)
        for part, kind, instead in parts
        if kind == 'int8'
    ]


def check_kernels(plan: PrecisionPlan) -> None:
    """Raises BuildRefused for formats that own kernels do not compute in."""
    formats = {plan.compute, plan.encoder_compute}
    if len(formats) > 1:
        raise BuildRefused(
            f'the kernels do not run in {" and ".join(sorted(formats))}',
            'activations, the cache and what is not int8 or int4 have one format',
            'Take one for --precision and --vision, or for --compute beside int8 and int4',
        )


def _check_block(plan: PrecisionPlan, backend: str) -> None:
    if backend in ON_GPU and plan.block_size != DEFAULT_BLOCK_SIZE:
        raise BuildRefused(
            f'blocks of {plan.block_size} are not for {ON_GPU[backend]}',
            f"kernels for int4 weights, NVIDIA's and our own, know {DEFAULT_BLOCK_SIZE}",
            f'Leave out --block-size, or take --block-size {DEFAULT_BLOCK_SIZE}',
        )


def _check_plan(plan: PrecisionPlan, is_gpu: bool) -> None:
    _refuse_float('the LLM', plan.linears, plan.compute)
    _refuse_float('the head', plan.head, plan.compute)
    if 'bfloat16' in (plan.compute, plan.encoder_compute) and not is_gpu:
        raise BuildRefused(
            'bfloat16 does not run on the CPU with ONNX Runtime',
            'its CPU provider has no bfloat16 MatMul, Add and Softmax',
            'Take --precision float32, int8 or int4, or --device cuda',
        )
    if ROWWISE in (plan.linears, plan.encoder) and (is_gpu or plan.compute != 'float32'):
        raise BuildRefused(
            f'{ROWWISE} runs on the CPU with ONNX Runtime, in float32 otherwise',
            'TensorRT has no scale per row of activations',
            'Take int8 or int4',
        )


def _check_known(choice: BuildChoice) -> None:
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
    """Refuses a part of the decoder in another float format than the rest of it."""
    if asked in FLOATS and asked != compute:
        raise BuildRefused(
            f'{part} cannot be {asked}',
            f'the graph around it computes in {compute}',
            f'Take {compute}, int8 or int4 for it',
        )


@dataclass(frozen=True)
class MatrixPlan:
    """A matrix (inputs, outputs) made of the rows `first` .. `first + outputs` of `sources` on top
    of one another; the last `padding` outputs are zero and have no source.

    `kind` is a format of weight files. With int8 and int4, `block_size` inputs share a scale, 0
    means all. With `is_rowwise` the input of the product is rounded to int8 too, row by row. `why`
    is the reason for not taking the format that was asked for.
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
    padding: int = 0

    @property
    def is_quantised(self) -> bool:
        """Whether the values are integers."""
        return self.kind in ('int8', 'int4')

    @property
    def blocks(self) -> int:
        """The number of scales per output."""
        return -(-self.inputs // self.block_size) if self.block_size else 1


class MatrixPlanner:
    """Plans the matrices of one checkpoint for one backend."""

    def __init__(self, shape: CheckpointShape, precision: PrecisionPlan, backend: str) -> None:
        self._shape = shape
        self._precision = precision
        self._backend = backend

    def encoder(self) -> list[MatrixPlan]:
        """Plans the matrices of encoder and projector."""
        encoder, hidden = self._shape.encoder, self._shape.llm.hidden_size
        kind = self._precision.encoder
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
        """Plans the matrices of the LLM and its head, which comes in `head_parts` pieces: a builder
        of engines needs working memory for the largest matrix.
        """
        return [
            *self._stack('llm', self._shape.llm, self._precision.linears),
            *self._head(head_parts),
        ]

    def _head(self, parts: int) -> list[MatrixPlan]:
        """Cuts the head at multiples of HEAD_STEP; for TensorRT the last part is filled up to
        one.
        """
        rows, hidden = self._shape.vocabulary_size, self._shape.llm.hidden_size
        step = HEAD_STEP[self._backend]
        if self._backend == 'tensorrt':
            steps = -(-rows // step)
            parts = min(parts, steps)
            cuts = [steps * part // parts * step for part in range(parts + 1)]
        else:
            cuts = [*(rows * part // parts // step * step for part in range(parts)), rows]
        plans = [
            self._plan(
                f'llm.lm_head.{part}',
                {HEAD: cuts[part + 1] - cuts[part]},
                hidden,
                self._precision.head,
                cuts[part],
            )
            for part in range(parts)
        ]
        return [*plans[:-1], replace(plans[-1], padding=cuts[-1] - rows)]

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
        """Plans one matrix; `sources` are tensors and how many outputs each gives."""
        kind, block, why = wanted, 0, ''
        if kind == 'int4' and self._backend == 'cuda':
            block = DEFAULT_BLOCK_SIZE  # rows are filled up with zeros
        elif kind == 'int4':
            block = self._block(BLOCK_SIZES, inputs)
            if not block:
                sizes = f'{BLOCK_SIZES[-1]} to {self._precision.block_size}'
                why = f'no block of {sizes} divides {inputs} inputs'
            elif any(rows % 2 for rows in sources.values()):
                why = 'the number of outputs is odd'
            kind = self._instead_of_int4 if why else kind
        if kind == 'int8':
            block = self._block(INT8_BLOCKS[self._backend], inputs)
        return MatrixPlan(
            name=name,
            sources=tuple(sources),
            inputs=inputs,
            outputs=sum(sources.values()),
            kind='int8' if kind == ROWWISE else kind,
            block_size=block,
            first=first,
            is_rowwise=kind == ROWWISE,
            why=why,
        )

    @property
    def _instead_of_int4(self) -> str:
        """The format of a matrix that cannot be int4."""
        return 'int8' if self._backend == 'onnxruntime' else self._precision.compute

    def _block(self, sizes: Sequence[int], inputs: int) -> int:
        return next(
            (size for size in sizes if size <= self._precision.block_size and inputs % size == 0), 0
        )


def stored_bytes(plan: MatrixPlan, compute: str) -> int:
    """Returns the bytes of values and scales in a weight file."""
    values = byte_length(plan.kind, (plan.inputs, plan.outputs))
    if not plan.is_quantised:
        return values
    return values + byte_length(compute, (plan.blocks, plan.outputs))
