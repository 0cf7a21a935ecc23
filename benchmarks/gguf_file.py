# SPDX-License-Identifier: Apache-2.0
"""Writes a Qwen3 of any shape with random weights as llama.cpp reads it: layers in Q4_0, embedding
and head in Q8_0.

It is for benchmarks only: the values are random, the sizes and formats are real, and there is no
tokenizer in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from penguin_ros.checkpoint.shapes import TransformerShape

F32, Q4_0, Q8_0 = 0, 2, 8
BLOCK = 32
BLOCK_BYTES = {Q4_0: 18, Q8_0: 34}
SPREAD = {Q4_0: 4.6, Q8_0: 73.9}
"""The standard deviation of the integers in a block whose bytes are random."""
ALIGNMENT = 32
UINT32, FLOAT32, STRING = 4, 6, 8


@dataclass(frozen=True)
class Tensor:
    """One tensor; its `shape` is (outputs, inputs) or (size,)."""

    name: str
    shape: tuple[int, ...]
    kind: int

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        count = int(np.prod(self.shape))
        return count * 4 if self.kind == F32 else count // BLOCK * BLOCK_BYTES[self.kind]


def write_gguf(path: Path, shape: TransformerShape, vocabulary_size: int, max_length: int) -> int:
    """Writes the file and returns the bytes of weights that decoding one token reads."""
    tensors = list(_tensors(shape, vocabulary_size))
    random = np.random.default_rng(0)
    with path.open('wb') as file:
        _write_header(file, tensors, _metadata(shape, vocabulary_size, max_length))
        for tensor in tensors:
            file.write(bytes(-file.tell() % ALIGNMENT))
            _write_values(file, tensor, random)
    return sum(tensor.bytes for tensor in tensors)


def _tensors(shape: TransformerShape, vocabulary_size: int) -> Iterator[Tensor]:
    hidden = shape.hidden_size
    queries = shape.heads * shape.head_dim
    keys = shape.kv_heads * shape.head_dim
    yield Tensor('token_embd.weight', (vocabulary_size, hidden), Q8_0)
    yield Tensor('output_norm.weight', (hidden,), F32)
    for layer in range(shape.layers):
        sizes: dict[str, tuple[int, ...]] = {
            'attn_norm': (hidden,),
            'attn_q': (queries, hidden),
            'attn_k': (keys, hidden),
            'attn_v': (keys, hidden),
            'attn_output': (hidden, queries),
            'attn_q_norm': (shape.head_dim,),
            'attn_k_norm': (shape.head_dim,),
            'ffn_norm': (hidden,),
            'ffn_gate': (shape.ffn_size, hidden),
            'ffn_up': (shape.ffn_size, hidden),
            'ffn_down': (hidden, shape.ffn_size),
        }
        for name, size in sizes.items():
            yield Tensor(f'blk.{layer}.{name}.weight', size, F32 if len(size) == 1 else Q4_0)


def _metadata(
    shape: TransformerShape, vocabulary_size: int, max_length: int
) -> dict[str, int | float | str]:
    own: dict[str, int | float] = {
        'block_count': shape.layers,
        'context_length': max_length,
        'embedding_length': shape.hidden_size,
        'feed_forward_length': shape.ffn_size,
        'attention.head_count': shape.heads,
        'attention.head_count_kv': shape.kv_heads,
        'attention.key_length': shape.head_dim,
        'attention.value_length': shape.head_dim,
        'rope.freq_base': shape.rope_theta,
        'attention.layer_norm_rms_epsilon': shape.norm_eps,
        'vocab_size': vocabulary_size,
    }
    return {
        'general.architecture': 'qwen3',
        'tokenizer.ggml.model': 'none',
        **{f'qwen3.{name}': value for name, value in own.items()},
    }


def _write_header(
    file: BinaryIO, tensors: list[Tensor], metadata: dict[str, int | float | str]
) -> None:
    file.write(struct.pack('<4sIQQ', b'GGUF', 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_text(key))
        if isinstance(value, str):
            file.write(struct.pack('<I', STRING) + _text(value))
        else:
            file.write(
                struct.pack('<II', UINT32, value)
                if isinstance(value, int)
                else struct.pack('<If', FLOAT32, value)
            )
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]
        file.write(
            _text(tensor.name)
            + struct.pack(f'<I{len(sizes)}QIQ', len(sizes), *sizes, tensor.kind, offset)
        )
        offset += -(-tensor.bytes // ALIGNMENT) * ALIGNMENT


def _text(value: str) -> bytes:
    return struct.pack('<Q', len(value.encode())) + value.encode()


def _write_values(file: BinaryIO, tensor: Tensor, random: np.random.Generator) -> None:
    if tensor.kind == F32:
        file.write(np.ones(tensor.shape, np.float32).tobytes())
        return
    size = BLOCK_BYTES[tensor.kind]
    blocks = tensor.bytes // size
    scale = np.float16(1 / (SPREAD[tensor.kind] * np.sqrt(tensor.shape[-1])))
    for start in range(0, blocks, 1 << 20):
        values = random.integers(0, 256, (min(1 << 20, blocks - start), size), np.uint8)
        values[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
        file.write(values.tobytes())
