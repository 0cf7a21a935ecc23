# SPDX-License-Identifier: Apache-2.0
"""The weights of the network as torch tensors on their device, read by their canonical names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.checkpoint.tensors import TensorReader

_DTYPES = {'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16}

Affine = tuple[torch.Tensor, torch.Tensor]
"""A weight and its bias."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One Qwen3 layer; matrices that read the same input are one, so that they are one product.

    `qkv` has (heads + 2 * kv_heads) * head_dim rows, `gate_up` 2 * ffn_size. `qk_norm` (heads +
    kv_heads, head_dim) holds the norm of q in its first rows and that of k in the last.
    """

    input_norm: torch.Tensor
    qkv: torch.Tensor
    qk_norm: torch.Tensor
    output: torch.Tensor
    ffn_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, eq=False)
class StackWeights:
    """A stack of layers and the norm after it."""

    shape: TransformerShape
    layers: tuple[LayerWeights, ...]
    norm: torch.Tensor


@dataclass(frozen=True, eq=False)
class EncoderWeights:
    """Patch embedding, encoder and projector."""

    patches: Affine
    stack: StackWeights
    projector: tuple[Affine, Affine]


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """Embedding, LLM and head; `head` is the embedding itself when they are tied."""

    embedding: torch.Tensor
    stack: StackWeights
    head: torch.Tensor


class WeightLoader:
    """Reads the tensors of one checkpoint onto `device` as `dtype`; widening is exact."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self._shape = checkpoint.shape
        self._reader = checkpoint.tensors
        self._device = device
        self._dtype = dtype

    def encoder(self) -> EncoderWeights:
        """Reads patch embedding, encoder and projector."""
        patches, first, second = (
            self._affine(name) for name in ('encoder.patch_embedding', 'projector.0', 'projector.2')
        )
        return EncoderWeights(patches, self._stack('encoder', self._shape.encoder), (first, second))

    def _affine(self, name: str) -> Affine:
        return self._read(name + '.weight'), self._read(name + '.bias')

    def decoder(self) -> DecoderWeights:
        """Reads embedding, LLM and head."""
        embedding = self._read('llm.embed_tokens.weight')
        head = embedding if self._shape.is_tied else self._read('llm.lm_head.weight')
        return DecoderWeights(embedding, self._stack('llm', self._shape.llm), head)

    def _stack(self, prefix: str, shape: TransformerShape) -> StackWeights:
        layers = tuple(
            self._layer(f'{prefix}.layers.{index}.', shape) for index in range(shape.layers)
        )
        return StackWeights(shape, layers, self._read(f'{prefix}.norm.weight'))

    def _layer(self, prefix: str, shape: TransformerShape) -> LayerWeights:
        q_norm, k_norm = (self._read(f'{prefix}self_attn.{part}_norm.weight') for part in 'qk')
        return LayerWeights(
            input_norm=self._read(prefix + 'input_layernorm.weight'),
            qkv=self._read(*(f'{prefix}self_attn.{part}_proj.weight' for part in 'qkv')),
            qk_norm=torch.cat((q_norm.expand(shape.heads, -1), k_norm.expand(shape.kv_heads, -1))),
            output=self._read(prefix + 'self_attn.o_proj.weight'),
            ffn_norm=self._read(prefix + 'post_attention_layernorm.weight'),
            gate_up=self._read(prefix + 'mlp.gate_proj.weight', prefix + 'mlp.up_proj.weight'),
            down=self._read(prefix + 'mlp.down_proj.weight'),
        )

    def _read(self, *names: str) -> torch.Tensor:
        """Reads the tensors of `names` and stacks them below one another."""
        parts = [_host_tensor(self._reader, name).to(self._device, self._dtype) for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _host_tensor(reader: TensorReader, name: str) -> torch.Tensor:
    """Copies a tensor in the format of the file: the reader's array may be a read-only view."""
    tag, values = reader.read_raw(name)
    held = np.array(values)
    if held.dtype == np.uint16:  # torch before 2.3 does not know it
        held = held.view(np.int16)
    return torch.from_numpy(held).view(_DTYPES[tag])
