# SPDX-License-Identifier: Apache-2.0
"""Writes the weights of a checkpoint as the kernels read them: matrices packed, a few rows at a
time in several threads, gains and biases in float32, tables of rotary positions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.cuda.network_file import (
    WEIGHTS,
    NetworkFile,
    Stored,
    write_network_index,
)
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.shapes import TransformerShape, inverse_frequencies
from penguin_ros.checkpoint.tensor_names import EMBEDDING
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.export.graph import SAFETENSORS
from penguin_ros.export.precision import MatrixPlan
from penguin_ros.export.quantisation import quantise
from penguin_ros.export.weight_conversion import in_format
from penguin_ros.export.weight_file import WeightFile
from penguin_ros.kernels.packing import INPUTS, OUTPUTS, filled_up, pack

ROWS = 1024
"""Outputs of a matrix that one thread converts at once; a multiple of OUTPUTS."""

KINDS = {'float32': 'fp32', 'float16': 'fp16', 'bfloat16': 'bf16', 'int32': 'i32'}
"""What the kernels call the formats of weight files."""

BITS = {'int4': 4, 'int8': 8}
Progress = Callable[[str, int], None]
"""Gets the name of what is written, and the elements done since the last call."""

Note = Callable[[str, str, tuple[int, ...]], NDArray[Any]]


@dataclass(frozen=True)
class NetworkOrder:
    """What is written: matrices as planned, in `compute` what is 16 bits wide, rotary tables of
    `max_length` positions, with so many threads.
    """

    plans: Sequence[MatrixPlan]
    compute: str
    max_length: int
    threads: int


class NetworkWriter:
    """Writes the network of one checkpoint into the folder of a bundle."""

    def __init__(
        self, checkpoint: Checkpoint, order: NetworkOrder, folder: Path, progress: Progress
    ) -> None:
        self._checkpoint = checkpoint
        self._tensors = checkpoint.tensors
        self._order = order
        self._folder = folder
        self._progress = progress
        self._stored: dict[str, Stored] = {}

    def write(self) -> NetworkFile:
        """Writes all tensors and the index; BuildRefused where a weight is not finite or does not
        fit its format.
        """
        shape = self._checkpoint.shape
        with WeightFile(self._folder / WEIGHTS) as self._file:
            with ThreadPoolExecutor(self._order.threads, 'convert') as self._pool:
                for plan in self._order.plans:
                    self._matrix(plan)
                self._table()
            for prefix, stack in (('encoder', shape.encoder), ('llm', shape.llm)):
                self._vectors(prefix, stack)
            for name in ('encoder.patch_embedding.bias', 'projector.0.bias', 'projector.2.bias'):
                self._vector(name, OUTPUTS)
            self._rotation(shape.llm)
        made = NetworkFile(self._folder, self._stored)
        write_network_index(made)
        return made

    def _place(self, name: str, dtype: str, size: tuple[int, ...]) -> NDArray[Any]:
        stored, place = self._file.place(name, dtype, size)
        self._stored[name] = Stored(KINDS[dtype], size, stored.offset, stored.length)
        return place

    def _matrix(self, plan: MatrixPlan) -> None:
        rows, columns = filled_up(plan.outputs, OUTPUTS), filled_up(plan.inputs, INPUTS)
        compute = self._order.compute
        if plan.is_quantised:
            bits = BITS[plan.kind]
            words = self._place(f'{plan.name}.words', 'int32', (rows, columns * bits // 32))
            scales = self._place(f'{plan.name}.scales', compute, (rows, columns // INPUTS))
        else:
            words = self._place(f'{plan.name}.words', compute, (rows, columns))
            words[plan.outputs :] = 0

        def convert(first: int, values: NDArray[np.float32]) -> None:
            last = rows if first + len(values) == plan.outputs else first + len(values)
            if not plan.is_quantised:
                wide = _filled(values, columns)
                words[first : first + len(values)] = in_format(plan.name, wide, compute)
                return
            packed = _packed(plan, values, columns, compute)
            words[first:last] = packed[0][: last - first]
            scales[first:last] = packed[1][: last - first]

        self._convert(plan, convert)

    def _convert(self, plan: MatrixPlan, work: Callable[[int, NDArray[np.float32]], None]) -> None:
        running: deque[tuple[Future[None], int]] = deque()

        def finish_one() -> None:
            future, elements = running.popleft()
            future.result()
            self._progress(plan.name, elements)

        for first, dtype, values in self._chunks(plan):
            while len(running) >= self._order.threads:
                finish_one()
            task = self._pool.submit(_widened, dtype, values, work, first)
            running.append((task, values.size))
        while running:
            finish_one()

    def _chunks(self, plan: MatrixPlan) -> Iterator[tuple[int, str, NDArray[Any]]]:
        """Yields the outputs of all sources in order, ROWS at a time but at the end."""
        parts = [self._tensors.read_raw(source) for source in plan.sources]
        if len(parts) == 1:
            dtype, values = parts[0]
            for start in range(0, len(values), ROWS):
                yield start, dtype, values[start : start + ROWS]
            return
        dtype, values = parts[0][0], np.concatenate([part for _, part in parts])
        for start in range(0, len(values), ROWS):
            yield start, dtype, values[start : start + ROWS]

    def _table(self) -> None:
        """Writes the embedding of each token, 16 bits wide."""
        shape, compute = self._checkpoint.shape, self._order.compute
        columns = filled_up(shape.llm.hidden_size, INPUTS)
        table = self._place('llm.embedding', compute, (shape.vocabulary_size, columns))
        dtype, values = self._tensors.read_raw(EMBEDDING)
        for start in range(0, len(values), ROWS):
            rows = widened(dtype, values[start : start + ROWS])
            table[start : start + ROWS] = in_format(EMBEDDING, _filled(rows, columns), compute)

    def _vectors(self, prefix: str, shape: TransformerShape) -> None:
        for index in range(shape.layers):
            layer = f'{prefix}.layers.{index}.'
            for name in ('input_layernorm', 'post_attention_layernorm'):
                self._vector(f'{layer}{name}.weight', INPUTS)
            for name in ('self_attn.q_norm', 'self_attn.k_norm'):
                self._vector(f'{layer}{name}.weight', 1)
        self._vector(f'{prefix}.norm.weight', INPUTS)

    def _vector(self, name: str, step: int) -> None:
        values = self._tensors.read(name)
        wide = _filled(values[None], filled_up(len(values), step))[0]
        self._place(name, 'float32', wide.shape)[...] = in_format(name, wide, 'float32')

    def _rotation(self, shape: TransformerShape) -> None:
        frequencies = inverse_frequencies(shape.head_dim, shape.rope_theta)
        angles = np.arange(self._order.max_length, dtype=np.float32)[:, None] * frequencies
        for name, values in (('cos', np.cos(angles)), ('sin', np.sin(angles))):
            self._place(f'llm.rope_{name}', 'float32', values.shape)[...] = values


def _widened(
    dtype: str,
    values: NDArray[Any],
    work: Callable[[int, NDArray[np.float32]], None],
    first: int,
) -> None:
    work(first, widened(dtype, values))


def _filled(values: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Returns rows with zeros behind them."""
    if values.shape[1] == columns:
        return values
    wide = np.zeros((len(values), columns), np.float32)
    wide[:, : values.shape[1]] = values
    return wide


def _packed(
    plan: MatrixPlan, values: NDArray[np.float32], columns: int, compute: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns words and scales of some outputs, filled up to a multiple of OUTPUTS."""
    wide = _filled(values, columns)
    in_format(plan.name, wide, 'float32')  # refuses what is not finite
    block = INPUTS if plan.kind == 'int4' else columns
    rounded = quantise(wide, plan.kind, block, SAFETENSORS[compute])
    packed = pack(rounded.values, rounded.scales, BITS[plan.kind])
    return packed.words, in_format(plan.name, packed.scales, compute)
