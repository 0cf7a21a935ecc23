# SPDX-License-Identifier: Apache-2.0
"""From the tensors of a checkpoint to weight files, a few columns of one matrix at a time. Knows canonical names, no graph.

A published weight is (outputs, inputs); graphs multiply from the right, so it is stored as (inputs, outputs).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensors import TensorReader, widened
from penguin_ros.export.graph import SAFETENSORS
from penguin_ros.export.network_weights import (
    StoredLanguage,
    StoredLayer,
    StoredLinear,
    StoredMatrix,
    StoredStack,
    StoredTensor,
    StoredVision,
)
from penguin_ros.export.weight_file import WeightFile

CHUNK_ELEMENTS = 8 * 1024 * 1024
"""Of a matrix that is held as float32 at a time."""

Progress = Callable[[str, int], None]
"""(name of what is written, elements done since the last call)."""


class WeightConverter:
    """Writes the weights of one part of the network, `compute` being the format of whatever is no matrix."""

    def __init__(self, reader: TensorReader, file: WeightFile, compute: str, show: Progress) -> None:
        self._reader, self._file, self._compute, self._show = reader, file, compute, show

    def vision(self, shape: CheckpointShape) -> StoredVision:
        """Patch embedding, encoder, projector."""
        patches = self._linear('encoder.patch_embedding')
        stack = self._stack('encoder', shape.encoder)
        projector = self._linear('projector.0'), self._linear('projector.2')
        return StoredVision(shape.patch_values, patches, stack, projector, shape.llm.hidden_size)

    def language(self, shape: CheckpointShape, head_parts: int) -> StoredLanguage:
        """LLM and head, the head cut into `head_parts` products."""
        stack = self._stack('llm', shape.llm)
        rows = shape.vocabulary_size
        cuts = [rows * part // head_parts // 2 * 2 for part in range(head_parts)] + [rows]
        parts = [self._matrix(f'llm.lm_head.{part}', ['llm.lm_head.weight'], slice(cuts[part], cuts[part + 1]))
                 for part in range(head_parts)]
        return StoredLanguage(stack, StoredLinear(tuple(parts)), rows)

    def _stack(self, prefix: str, shape: TransformerShape) -> StoredStack:
        layers = tuple(self._layer(f'{prefix}.layers.{index}.') for index in range(shape.layers))
        return StoredStack(shape, layers, self._vector(f'{prefix}.norm.weight'))

    def _layer(self, prefix: str) -> StoredLayer:
        attention, ffn = prefix + 'self_attn.', prefix + 'mlp.'
        return StoredLayer(
            input_norm=self._vector(prefix + 'input_layernorm.weight'),
            qkv=self._product(attention + 'qkv', *(f'{attention}{part}_proj.weight' for part in 'qkv')),
            q_norm=self._vector(attention + 'q_norm.weight'), k_norm=self._vector(attention + 'k_norm.weight'),
            output=self._product(attention + 'o_proj', attention + 'o_proj.weight'),
            ffn_norm=self._vector(prefix + 'post_attention_layernorm.weight'),
            gate_up=self._product(ffn + 'gate_up', ffn + 'gate_proj.weight', ffn + 'up_proj.weight'),
            down=self._product(ffn + 'down_proj', ffn + 'down_proj.weight'))

    def _linear(self, name: str) -> StoredLinear:
        return StoredLinear((self._matrix(name, [name + '.weight']),), self._vector(name + '.bias'))

    def _product(self, name: str, *sources: str) -> StoredLinear:
        return StoredLinear((self._matrix(name, sources),))

    def _vector(self, name: str) -> StoredTensor:
        values = self._reader.read(name)
        self._show(name, values.size)
        return self._file.add(name, self._compute, narrowed(SAFETENSORS[self._compute], values)[1])

    def _matrix(self, name: str, sources: Sequence[str], rows: slice = slice(None)) -> StoredMatrix:
        outputs = sum(len(range(*rows.indices(self._reader.shape(source)[0]))) for source in sources)
        inputs = self._reader.shape(sources[0])[1]
        stored, place = self._file.place(name, self._compute, (inputs, outputs))
        for first, values in self._columns(name, sources, rows):
            place[:, first:first + len(values)] = narrowed(SAFETENSORS[self._compute], values)[1].T
        return StoredMatrix(stored)

    def _columns(self, name: str, sources: Sequence[str], rows: slice) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first output, its weights and those of some after it: (outputs, inputs)), of all sources in order."""
        first = 0
        for source in sources:
            dtype, values = self._reader.read_raw(source)
            values = values[rows]
            step = max(2, CHUNK_ELEMENTS // values.shape[1] // 2 * 2)
            for start in range(0, len(values), step):
                part = widened(dtype, values[start:start + step])
                yield first + start, part
                self._show(name, part.size)
            first += len(values)
