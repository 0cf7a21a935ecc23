# SPDX-License-Identifier: Apache-2.0
"""From the tensors of a checkpoint to the weights of a part of the network in its file. Knows canonical names, no format."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.checkpoint.rotary import inverse_frequencies
from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensors import TensorReader
from penguin_ros.export.matrix_plan import MatrixPlan
from penguin_ros.export.matrix_writer import MatrixWriter, Progress, in_format
from penguin_ros.export.network_weights import (
    StoredLanguage,
    StoredLayer,
    StoredLinear,
    StoredStack,
    StoredVision,
)
from penguin_ros.export.weight_file import StoredTensor, WeightFile


class WeightConverter:
    """Writes the matrices of `plans` as planned, everything else in the format `compute`."""

    def __init__(self, reader: TensorReader, file: WeightFile, compute: str, plans: Sequence[MatrixPlan], show: Progress,
                 threads: int) -> None:
        self._reader, self._file, self._compute, self._show = reader, file, compute, show
        self._plans, self._threads = {plan.name: plan for plan in plans}, threads
        self._writer: MatrixWriter | None = None

    def vision(self, shape: CheckpointShape) -> StoredVision:
        """Patch embedding, encoder, projector."""
        with MatrixWriter(self._reader, self._file, self._compute, self._threads, self._show) as self._writer:
            patches = self._linear('encoder.patch_embedding')
            stack = self._stack('encoder', shape.encoder)
            projector = self._linear('projector.0'), self._linear('projector.2')
        return StoredVision(shape.patch_values, patches, stack, projector, shape.llm.hidden_size)

    def language(self, shape: CheckpointShape, max_length: int) -> StoredLanguage:
        """LLM and head, the head in as many products as the plan has pieces of it; positions up to `max_length`."""
        with MatrixWriter(self._reader, self._file, self._compute, self._threads, self._show) as self._writer:
            stack = self._stack('llm', shape.llm)
            head = self._product(*(name for name in self._plans if name.startswith('llm.lm_head.')))
        return StoredLanguage(stack, head, self._rotation(shape.llm, max_length), shape.vocabulary_size)

    def _rotation(self, shape: TransformerShape, max_length: int) -> tuple[StoredTensor, StoredTensor]:
        angles = np.arange(max_length, dtype=np.float32)[:, None] * inverse_frequencies(shape.head_dim, shape.rope_theta)
        cosine, sine = (self._file.add(name, self._compute, in_format(name, values, self._compute))
                        for name, values in (('llm.rope_cos', np.cos(angles)), ('llm.rope_sin', np.sin(angles))))
        return cosine, sine

    def _stack(self, prefix: str, shape: TransformerShape) -> StoredStack:
        layers = tuple(self._layer(f'{prefix}.layers.{index}.') for index in range(shape.layers))
        return StoredStack(shape, layers, self._vector(f'{prefix}.norm.weight'))

    def _layer(self, prefix: str) -> StoredLayer:
        return StoredLayer(
            input_norm=self._vector(prefix + 'input_layernorm.weight'), qkv=self._product(prefix + 'self_attn.qkv'),
            q_norm=self._vector(prefix + 'self_attn.q_norm.weight'), k_norm=self._vector(prefix + 'self_attn.k_norm.weight'),
            output=self._product(prefix + 'self_attn.o_proj'), ffn_norm=self._vector(prefix + 'post_attention_layernorm.weight'),
            gate_up=self._product(prefix + 'mlp.gate_up'), down=self._product(prefix + 'mlp.down_proj'))

    def _linear(self, name: str) -> StoredLinear:
        return StoredLinear(self._product(name).parts, self._vector(name + '.bias'))

    def _product(self, *names: str) -> StoredLinear:
        assert self._writer is not None
        return StoredLinear(tuple(self._writer.write(self._plans[name]) for name in names))

    def _vector(self, name: str) -> StoredTensor:
        values = self._reader.read(name)
        self._show(name, values.size)
        return self._file.add(name, self._compute, in_format(name, values, self._compute))
