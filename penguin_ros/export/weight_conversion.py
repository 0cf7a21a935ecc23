# SPDX-License-Identifier: Apache-2.0
"""From the tensors of a checkpoint to the weights of a part of the network in its file. Knows
canonical names, no format.

Writes the matrices of a plan into a weight file, some outputs at a time, on several threads. Knows
formats, no graph.

A published weight is (outputs, inputs); graphs multiply from the right, so it is stored as (inputs,
outputs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
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
from penguin_ros.export.weight_file import StoredTensor, WeightFile

CHUNK_ELEMENTS = 4 * 1024 * 1024
"""Of a matrix that one thread holds as float32 at a time."""

Progress = Callable[[str, int], None]
"""(name of what is written, elements done since the last call); called on the thread that writes."""

HALF_MAX = 65504.0
"""The largest float16."""

Chunk = tuple[int, str, NDArray[Any]]
"""First output, format, values (outputs, inputs) as stored in the checkpoint."""


class MatrixWriter:
    """`compute` is the format of scales; `threads` chunks are in work at a time, and no more are
    held.
    """

    def __init__(
        self, reader: TensorReader, file: WeightFile, compute: str, threads: int, show: Progress
    ) -> None:
        self._reader, self._file, self._compute, self._show = reader, file, compute, show
        self._threads, self._pool = threads, ThreadPoolExecutor(threads, 'convert')

    def __enter__(self) -> MatrixWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, plan: MatrixPlan) -> StoredMatrix:
        """Writes one matrix."""
        stored, place = self._file.place(plan.name, plan.kind, (plan.inputs, plan.outputs))
        if not plan.is_quantised:
            self._convert(
                plan,
                lambda first, values: _put(place, first, in_format(plan.name, values, plan.kind).T),
            )
            return StoredMatrix(stored)
        scale_shape = (plan.blocks, plan.outputs)
        scales, scale_place = self._file.place(plan.name + '.scales', self._compute, scale_shape)

        def convert(first: int, values: NDArray[np.float32]) -> None:
            rounded = quantise(
                values, plan.kind, plan.block_size or plan.inputs, SAFETENSORS[self._compute]
            )
            _put(scale_place, first, narrowed(SAFETENSORS[self._compute], rounded.scales)[1].T)
            if plan.kind == 'int4':
                _put(place, first // 2, packed(rounded.values))
            else:
                _put(place, first, rounded.values.T)

        self._convert(plan, convert)
        # TensorRT 10.3 takes the format of int4 weights from their zero points; all are zero.
        shape = scale_shape if plan.block_size else scale_shape[1:]
        zeros = (
            self._file.zeros(plan.name + '.zeros', 'int4', shape) if plan.kind == 'int4' else None
        )
        scales = replace(scales, shape=shape)
        return StoredMatrix(stored, scales, zeros, plan.block_size, plan.is_rowwise)

    def _convert(self, plan: MatrixPlan, work: Callable[[int, NDArray[np.float32]], None]) -> None:
        running: deque[tuple[Future[None], int]] = deque()

        def finish_one() -> None:
            future, elements = running.popleft()
            future.result()
            self._show(plan.name, elements)

        for first, dtype, raw in self._chunks(plan):
            while len(running) >= self._threads:
                finish_one()
            running.append(
                (self._pool.submit(_converted, plan.name, dtype, raw, first, work), raw.size)
            )
        while running:
            finish_one()

    def _chunks(self, plan: MatrixPlan) -> Iterator[Chunk]:
        """All sources in order; an even number of outputs each but at the end."""
        first = 0
        step = max(2, CHUNK_ELEMENTS // plan.inputs // 2 * 2)
        for source in plan.sources:
            dtype, values = self._reader.read_raw(source)
            if len(plan.sources) == 1:
                values = values[plan.first : plan.first + plan.outputs]
            for start in range(0, len(values), step):
                yield first + start, dtype, values[start : start + step]
            first += len(values)


def _converted(
    name: str,
    dtype: str,
    raw: NDArray[Any],
    first: int,
    work: Callable[[int, NDArray[np.float32]], None],
) -> None:
    values = widened(dtype, raw)
    _check_finite(name, values)
    work(first, values)


def in_format(name: str, values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """Values in the storage type of a float format; BuildRefused when they are too large for it or
    no numbers.
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
    # NaN passes through both
    if values.size and not (np.isfinite(values.max()) and np.isfinite(values.min())):
        raise BuildRefused(
            f'{name} holds values that are no numbers',
            'the checkpoint has NaN or infinity there',
            'Download the checkpoint again',
        )


def _put(place: NDArray[Any], first: int, values: NDArray[Any]) -> None:
    place[:, first : first + values.shape[1]] = values


class WeightConverter:
    """Writes the matrices of `plans` as planned, everything else in the format `compute`."""

    def __init__(
        self,
        reader: TensorReader,
        file: WeightFile,
        compute: str,
        plans: Sequence[MatrixPlan],
        show: Progress,
        threads: int,
    ) -> None:
        self._reader, self._file, self._compute, self._show = reader, file, compute, show
        self._plans, self._threads = {plan.name: plan for plan in plans}, threads
        self._writer: MatrixWriter | None = None

    def vision(self, shape: CheckpointShape) -> StoredEncoder:
        """Patch embedding, encoder, projector."""
        with MatrixWriter(
            self._reader, self._file, self._compute, self._threads, self._show
        ) as self._writer:
            patches = self._linear('encoder.patch_embedding')
            stack = self._stack('encoder', shape.encoder)
            projector = self._linear('projector.0'), self._linear('projector.2')
        return StoredEncoder(shape.patch_values, patches, stack, projector, shape.llm.hidden_size)

    def language(self, shape: CheckpointShape, max_length: int) -> StoredDecoder:
        """LLM and head, the head in as many products as the plan has pieces of it; positions up to
        `max_length`.
        """
        with MatrixWriter(
            self._reader, self._file, self._compute, self._threads, self._show
        ) as self._writer:
            stack = self._stack('llm', shape.llm)
            head = self._product(*(name for name in self._plans if name.startswith('llm.lm_head.')))
        return StoredDecoder(
            stack, head, self._rotation(shape.llm, max_length), shape.vocabulary_size
        )

    def _rotation(
        self, shape: TransformerShape, max_length: int
    ) -> tuple[StoredTensor, StoredTensor]:
        angles = np.arange(max_length, dtype=np.float32)[:, None] * inverse_frequencies(
            shape.head_dim, shape.rope_theta
        )
        cosine, sine = (
            self._file.add(name, self._compute, in_format(name, values, self._compute))
            for name, values in (('llm.rope_cos', np.cos(angles)), ('llm.rope_sin', np.sin(angles)))
        )
        return cosine, sine

    def _stack(self, prefix: str, shape: TransformerShape) -> StoredStack:
        layers = tuple(self._layer(f'{prefix}.layers.{index}.') for index in range(shape.layers))
        return StoredStack(shape, layers, self._vector(f'{prefix}.norm.weight'))

    def _layer(self, prefix: str) -> StoredLayer:
        return StoredLayer(
            input_norm=self._vector(prefix + 'input_layernorm.weight'),
            qkv=self._product(prefix + 'self_attn.qkv'),
            q_norm=self._vector(prefix + 'self_attn.q_norm.weight'),
            k_norm=self._vector(prefix + 'self_attn.k_norm.weight'),
            output=self._product(prefix + 'self_attn.o_proj'),
            ffn_norm=self._vector(prefix + 'post_attention_layernorm.weight'),
            gate_up=self._product(prefix + 'mlp.gate_up'),
            down=self._product(prefix + 'mlp.down_proj'),
        )

    def _linear(self, name: str) -> StoredLinear:
        return StoredLinear(self._product(name).parts, self._vector(name + '.bias'))

    def _product(self, *names: str) -> StoredLinear:
        assert self._writer is not None
        return StoredLinear(tuple(self._writer.write(self._plans[name]) for name in names))

    def _vector(self, name: str) -> StoredTensor:
        values = self._reader.read(name)
        self._show(name, values.size)
        return self._file.add(name, self._compute, in_format(name, values, self._compute))
