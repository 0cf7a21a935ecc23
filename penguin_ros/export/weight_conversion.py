# SPDX-License-Identifier: Apache-2.0
"""Turns the tensors of a checkpoint into the weights of a part of the network in a weight file: the
matrices of a plan, some outputs at a time on several threads, and everything else.

A published weight is (outputs, inputs); graphs multiply from the right, so it is stored as (inputs,
outputs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape, inverse_frequencies
from penguin_ros.checkpoint.tensors import TensorReader, widened
from penguin_ros.errors import BuildRefused
from penguin_ros.export.graph import SAFETENSORS
from penguin_ros.export.network_weights import (
    StoredDecoder,
    StoredEncoder,
    StoredLayer,
    StoredLinear,
    StoredMatrix,
    StoredStack,
)
from penguin_ros.export.precision import MatrixPlan
from penguin_ros.export.quantisation import packed, quantise
from penguin_ros.export.scaling import NO_SCALING, Scaling, scaled
from penguin_ros.export.weight_file import StoredTensor, WeightFile

CHUNK_ELEMENTS = 4 * 1024 * 1024
"""Elements of a matrix that one thread holds as float32 at a time."""

ProgressCallback = Callable[[str, int], None]
"""Gets the name of what is written, and the elements done since the last call; it is called on the
thread that writes.
"""

HALF_MAX = 65504.0
"""The largest float16."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Outputs of a matrix from `first` on: `values` (outputs, inputs) of the format `dtype` as
    stored in the checkpoint, to be multiplied by 2 ** `exponent`.
    """

    first: int
    dtype: str
    values: NDArray[Any]
    exponent: int


@dataclass(frozen=True)
class Conversion:
    """Tensors of `reader` are written to `file`, with scales and everything that is no planned
    matrix in the format `compute`. `threads` chunks are in work at a time, and no more are held.
    Tensors named in `scaling` are multiplied by powers of two.
    """

    reader: TensorReader
    file: WeightFile
    compute: str
    threads: int
    progress: ProgressCallback
    scaling: Scaling = NO_SCALING


class MatrixWriter:
    """Writes planned matrices; it is a context that ends its threads."""

    def __init__(self, conversion: Conversion) -> None:
        self._reader = conversion.reader
        self._file = conversion.file
        self._compute = conversion.compute
        self._threads = conversion.threads
        self._progress = conversion.progress
        self._scaling = conversion.scaling
        self._pool = ThreadPoolExecutor(conversion.threads, 'convert')

    def __enter__(self) -> MatrixWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, plan: MatrixPlan) -> StoredMatrix:
        """Writes one matrix."""
        stored, place = self._file.place(plan.name, plan.kind, (plan.inputs, plan.outputs))
        if not plan.is_quantised:

            def convert(first: int, values: NDArray[np.float32]) -> None:
                _put(place, first, in_format(plan.name, values, plan.kind).T)

            self._convert(plan, convert)
            return StoredMatrix(stored)
        scales, zeros = self._write_quantised(plan, place)
        return StoredMatrix(stored, scales, zeros, plan.block_size, plan.is_rowwise)

    def _write_quantised(
        self, plan: MatrixPlan, place: NDArray[Any]
    ) -> tuple[StoredTensor, StoredTensor | None]:
        """Writes the integers to `place`; returns their scales and zero points."""
        shape, scale_format = (plan.blocks, plan.outputs), SAFETENSORS[self._compute]
        scales, scale_place = self._file.place(plan.name + '.scales', self._compute, shape)

        def convert(first: int, values: NDArray[np.float32]) -> None:
            rounded = quantise(values, plan.kind, plan.block_size or plan.inputs, scale_format)
            _put(scale_place, first, narrowed(scale_format, rounded.scales)[1].T)
            if plan.kind == 'int4':
                _put(place, first // 2, packed(rounded.values))
            else:
                _put(place, first, rounded.values.T)

        self._convert(plan, convert)
        scales = replace(scales, shape=shape if plan.block_size else shape[1:])
        if plan.kind != 'int4':
            return scales, None
        # TensorRT 10.3 takes the format of int4 weights from their zero points; all are zero.
        return scales, self._file.zeros(plan.name + '.zeros', 'int4', scales.shape)

    def _convert(self, plan: MatrixPlan, work: Callable[[int, NDArray[np.float32]], None]) -> None:
        running: deque[tuple[Future[None], int]] = deque()

        def finish_one() -> None:
            future, elements = running.popleft()
            future.result()
            self._progress(plan.name, elements)

        for chunk in self._chunks(plan):
            while len(running) >= self._threads:
                finish_one()
            running.append(
                (self._pool.submit(_converted, plan.name, chunk, work), chunk.values.size)
            )
        while running:
            finish_one()

    def _chunks(self, plan: MatrixPlan) -> Iterator[Chunk]:
        """Yields all sources in order, an even number of outputs at a time but at the end."""
        first = 0
        step = max(2, CHUNK_ELEMENTS // plan.inputs // 2 * 2)
        for source in plan.sources:
            dtype, values = self._reader.read_raw(source)
            if len(plan.sources) == 1:
                values = values[plan.first : plan.first + plan.outputs]
            for start in range(0, len(values), step):
                part = values[start : start + step]
                if plan.padding and start + step >= len(values):
                    # To what precedes it, since pairs of int4 must not be torn apart.
                    zeros = np.zeros((plan.padding, plan.inputs), values.dtype)
                    part = np.concatenate((part, zeros))
                yield Chunk(first + start, dtype, part, self._scaling.of(source))
            first += len(values)


def _converted(name: str, chunk: Chunk, work: Callable[[int, NDArray[np.float32]], None]) -> None:
    values = scaled(widened(chunk.dtype, chunk.values), chunk.exponent)
    _check_finite(name, values)
    work(chunk.first, values)


def in_format(name: str, values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """Returns values in the storage type of a float format; BuildRefused when they are too large
    for it, NaN or infinite.
    """
    _check_finite(name, values)
    if kind == 'float16' and values.size and max(values.max(), -values.min()) > HALF_MAX:
        raise BuildRefused(
            f'{name} does not fit into float16',
            f'it holds values above {HALF_MAX}',
            'Take --precision bfloat16',
        )
    return narrowed(SAFETENSORS[kind], values)[1]


def _check_finite(name: str, values: NDArray[np.float32]) -> None:
    # NaN passes through both.
    if values.size and not (np.isfinite(values.max()) and np.isfinite(values.min())):
        raise BuildRefused(
            f'{name} holds NaN or infinity',
            'the file of the checkpoint is damaged, or its training failed',
            'Download the checkpoint again',
        )


def _put(place: NDArray[Any], first: int, values: NDArray[Any]) -> None:
    place[:, first : first + values.shape[1]] = values


class WeightConverter:
    """Writes the matrices of `plans` as planned, and everything else in the compute format."""

    def __init__(self, conversion: Conversion, plans: Sequence[MatrixPlan]) -> None:
        self._conversion = conversion
        self._plans = {plan.name: plan for plan in plans}
        self._writer: MatrixWriter | None = None

    def encoder(self, shape: CheckpointShape) -> StoredEncoder:
        """Writes patch embedding, encoder and projector."""
        with MatrixWriter(self._conversion) as self._writer:
            patches = self._linear('encoder.patch_embedding')
            stack = self._stack('encoder', shape.encoder)
            projector = self._linear('projector.0'), self._linear('projector.2')
        return StoredEncoder(shape.patch_values, patches, stack, projector, shape.llm.hidden_size)

    def decoder(self, shape: CheckpointShape, max_length: int) -> StoredDecoder:
        """Writes LLM and head, the head in as many products as the plan has pieces of it, and the
        rotary tables of `max_length` positions.
        """
        with MatrixWriter(self._conversion) as self._writer:
            stack = self._stack('llm', shape.llm)
            head = self._product(*(name for name in self._plans if name.startswith('llm.lm_head.')))
        rotation = self._rotation(shape.llm, max_length)
        return StoredDecoder(stack, head, rotation, shape.vocabulary_size)

    def _rotation(
        self, shape: TransformerShape, max_length: int
    ) -> tuple[StoredTensor, StoredTensor]:
        frequencies = inverse_frequencies(shape.head_dim, shape.rope_theta)
        angles = np.arange(max_length, dtype=np.float32)[:, None] * frequencies
        return self._add('llm.rope_cos', np.cos(angles)), self._add('llm.rope_sin', np.sin(angles))

    def _stack(self, prefix: str, shape: TransformerShape) -> StoredStack:
        eps = self._conversion.scaling.norm_eps(prefix, shape.norm_eps)
        layers = tuple(
            self._layer(f'{prefix}.layers.{index}.', eps) for index in range(shape.layers)
        )
        return StoredStack(shape, layers, self._vector(f'{prefix}.norm.weight'), eps)

    def _layer(self, prefix: str, norm_eps: float) -> StoredLayer:
        return StoredLayer(
            input_norm=self._vector(prefix + 'input_layernorm.weight'),
            qkv=self._product(prefix + 'self_attn.qkv'),
            q_norm=self._vector(prefix + 'self_attn.q_norm.weight'),
            k_norm=self._vector(prefix + 'self_attn.k_norm.weight'),
            output=self._product(prefix + 'self_attn.o_proj'),
            ffn_norm=self._vector(prefix + 'post_attention_layernorm.weight'),
            gate_up=self._product(prefix + 'mlp.gate_up'),
            down=self._product(prefix + 'mlp.down_proj'),
            norm_eps=norm_eps,
        )

    def _linear(self, name: str) -> StoredLinear:
        return StoredLinear(self._product(name).parts, self._vector(name + '.bias'))

    def _product(self, *names: str) -> StoredLinear:
        assert self._writer is not None
        return StoredLinear(tuple(self._writer.write(self._plans[name]) for name in names))

    def _vector(self, name: str) -> StoredTensor:
        values = scaled(self._conversion.reader.read(name), self._conversion.scaling.of(name))
        self._conversion.progress(name, values.size)
        return self._add(name, values)

    def _add(self, name: str, values: NDArray[np.float32]) -> StoredTensor:
        compute = self._conversion.compute
        return self._conversion.file.add(name, compute, in_format(name, values, compute))
