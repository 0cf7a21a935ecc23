# SPDX-License-Identifier: Apache-2.0
"""Writes the weights of a checkpoint as the kernels read them: matrices packed, a few rows at a
time in several threads, gains and biases in float32, tables of rotary positions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
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
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.export.precision import MatrixPlan
from penguin_ros.export.quantisation import quantise
from penguin_ros.export.resources import NANOSECONDS
from penguin_ros.export.weight_conversion import in_format
from penguin_ros.export.weight_file import WeightFile
from penguin_ros.kernels.packing import INPUTS, OUTPUTS, filled_up, pack

ROWS = 1024
"""Outputs of a matrix that one thread converts at once; a multiple of OUTPUTS."""

KINDS = {'float32': 'fp32', 'float16': 'fp16', 'bfloat16': 'bf16', 'int32': 'i32'}
"""What the kernels call the formats of weight files."""

BITS = {'int4': 4, 'int8': 8}
SAFETENSORS = {'float16': 'F16', 'bfloat16': 'BF16', 'float32': 'F32'}
GATED = '.gate_up'
BIASES = ('encoder.patch_embedding.bias', 'projector.0.bias', 'projector.2.bias')
Progress = Callable[[str, int], None]
"""Gets the name of what is written, and the elements done since the last call."""

Note = Callable[[str, str, tuple[int, ...]], NDArray[Any]]


@dataclass(frozen=True)
class NetworkOrder:
    """What is written: matrices as planned, in `compute` what is not packed, rotary tables of
    `max_length` positions, with so many threads; without `has_encoder` the LLM's part alone.
    """

    plans: Sequence[MatrixPlan]
    compute: str
    max_length: int
    threads: int
    has_encoder: bool = True


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
            self._vectors('llm', shape.llm)
            if self._order.has_encoder:
                self._vectors('encoder', shape.encoder)
                for name in BIASES:
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
        parts = _parts(plan, [self._tensors.shape(source)[0] for source in plan.sources])
        rows, columns = filled_up(parts[-1][1], OUTPUTS), filled_up(plan.inputs, INPUTS)
        compute = self._order.compute
        if plan.is_quantised:
            bits = BITS[plan.kind]
            words = self._place(f'{plan.name}.words', 'int32', (rows, columns * bits // 32))
            scales = self._place(f'{plan.name}.scales', compute, (rows, columns // INPUTS))
        else:
            words = self._place(f'{plan.name}.words', compute, (rows, columns))

        # The file is zero where nothing is written, and so is a row whose scales are.
        def convert(first: int, values: NDArray[np.float32]) -> None:
            here = slice(first, first + len(values))
            if not plan.is_quantised:
                words[here] = in_format(plan.name, _filled(values, columns), compute)
                return
            packed = _packed(plan, values, columns, compute)
            words[here] = packed[0][: len(values)]
            scales[here] = packed[1][: len(values)]

        self._convert(plan, [begin for begin, _ in parts], convert)

    def _convert(
        self,
        plan: MatrixPlan,
        begins: Sequence[int],
        work: Callable[[int, NDArray[np.float32]], None],
    ) -> None:
        """Gives all rows of all sources to `work`, in the threads of the pool."""
        running: deque[tuple[Future[None], int]] = deque()

        def finish_one() -> None:
            future, elements = running.popleft()
            future.result()
            self._progress(plan.name, elements)

        for source, begin in zip(plan.sources, begins, strict=True):
            dtype, values = self._tensors.read_raw(source)
            for start in range(0, len(values), ROWS):
                while len(running) >= self._order.threads:
                    finish_one()
                part = values[start : start + ROWS]
                task = self._pool.submit(_widened, dtype, part, work, begin + start)
                running.append((task, part.size))
        while running:
            finish_one()

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
        table = np.concatenate((np.cos(angles), np.sin(angles)), axis=1)
        self._place('llm.rotation', 'float32', table.shape)[...] = table


def write_network(
    checkpoint: Checkpoint,
    order: NetworkOrder,
    folder: Path,
    progress: Callable[[str, float], None],
) -> NetworkFile:
    """Writes the network of a checkpoint; `progress` gets what is written, and the nanoseconds that
    it took by estimate.
    """
    kinds = {plan.name: plan.kind for plan in order.plans}

    def note(name: str, elements: int) -> None:
        part = 'encoder' if name.startswith(('encoder', 'projector')) else 'LLM'
        progress(f'{part}: {name}', elements * NANOSECONDS[kinds[name]])

    return NetworkWriter(checkpoint, order, folder, note).write()


def _parts(plan: MatrixPlan, lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Returns where the rows of each source begin and end in a matrix: one behind the other, but
    the second half of a gated product begins where the first, filled up, ends.
    """
    parts: list[tuple[int, int]] = []
    begin = 0
    for length in lengths:
        parts.append((begin, begin + length))
        begin += filled_up(length, INPUTS) if plan.name.endswith(GATED) else length
    return parts


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
