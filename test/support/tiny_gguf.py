# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny language model with random weights, and a projector for pictures to it, as
llama.cpp reads them: `python tiny_gguf.py FOLDER` makes model.gguf and mmproj.gguf.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, HEADS, LAYERS, FEED_FORWARD = 64, 4, 2, 128
VISION, PATCH, IMAGE, VISION_LAYERS = 32, 14, 56, 2
CONTEXT = 4096
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


def byte_tokens() -> list[str]:
    """Returns the 256 tokens of a byte-level vocabulary, in the letters that stand for bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown}
    letters |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def write_model(path: Path, random: np.random.Generator) -> None:
    import gguf

    tokens = [*byte_tokens(), 'he', '<end>']
    writer = gguf.GGUFWriter(path, 'llama')
    writer.add_name('tiny')
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre('gpt-2')
    writer.add_token_list(tokens)
    writer.add_token_types([*[gguf.TokenType.NORMAL] * 257, gguf.TokenType.CONTROL])
    writer.add_token_merges(['h e'])
    writer.add_eos_token_id(257)
    writer.add_bos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    _add(writer, random, 'token_embd.weight', (len(tokens), HIDDEN))
    _add(writer, random, 'output.weight', (len(tokens), HIDDEN))
    _ones(writer, 'output_norm.weight', HIDDEN)
    for layer in range(LAYERS):
        for name in ('attn_q', 'attn_k', 'attn_v', 'attn_output'):
            _add(writer, random, f'blk.{layer}.{name}.weight', (HIDDEN, HIDDEN))
        _add(writer, random, f'blk.{layer}.ffn_gate.weight', (FEED_FORWARD, HIDDEN))
        _add(writer, random, f'blk.{layer}.ffn_up.weight', (FEED_FORWARD, HIDDEN))
        _add(writer, random, f'blk.{layer}.ffn_down.weight', (HIDDEN, FEED_FORWARD))
        _ones(writer, f'blk.{layer}.attn_norm.weight', HIDDEN)
        _ones(writer, f'blk.{layer}.ffn_norm.weight', HIDDEN)
    _close(writer)


def write_projector(path: Path, random: np.random.Generator) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, 'clip')
    writer.add_bool('clip.has_vision_encoder', True)
    writer.add_string('clip.projector_type', 'mlp')
    writer.add_bool('clip.use_gelu', True)
    writer.add_uint32('clip.vision.image_size', IMAGE)
    writer.add_uint32('clip.vision.patch_size', PATCH)
    writer.add_uint32('clip.vision.embedding_length', VISION)
    writer.add_uint32('clip.vision.feed_forward_length', 2 * VISION)
    writer.add_uint32('clip.vision.block_count', VISION_LAYERS)
    writer.add_uint32('clip.vision.projection_dim', HIDDEN)
    writer.add_uint32('clip.vision.attention.head_count', 2)
    writer.add_float32('clip.vision.attention.layer_norm_epsilon', 1e-5)
    writer.add_array('clip.vision.image_mean', [0.5, 0.5, 0.5])
    writer.add_array('clip.vision.image_std', [0.5, 0.5, 0.5])
    patches = (IMAGE // PATCH) ** 2
    _add(writer, random, 'v.patch_embd.weight', (VISION, 3, PATCH, PATCH))
    _add(writer, random, 'v.position_embd.weight', (patches, VISION))
    for name in ('pre_ln', 'post_ln'):
        _norm(writer, f'v.{name}')
    for layer in range(VISION_LAYERS):
        for name in ('attn_q', 'attn_k', 'attn_v', 'attn_out'):
            _linear(writer, random, f'v.blk.{layer}.{name}', VISION, VISION)
        _linear(writer, random, f'v.blk.{layer}.ffn_up', VISION, 2 * VISION)
        _linear(writer, random, f'v.blk.{layer}.ffn_down', 2 * VISION, VISION)
        _norm(writer, f'v.blk.{layer}.ln1')
        _norm(writer, f'v.blk.{layer}.ln2')
    _linear(writer, random, 'mm.0', VISION, HIDDEN)
    _linear(writer, random, 'mm.2', HIDDEN, HIDDEN)
    _close(writer)


def _add(writer: Any, random: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
    writer.add_tensor(name, (random.standard_normal(shape) * 0.2).astype(np.float32))


def _ones(writer: Any, name: str, size: int) -> None:
    writer.add_tensor(name, np.ones(size, np.float32))


def _norm(writer: Any, name: str) -> None:
    _ones(writer, f'{name}.weight', VISION)
    writer.add_tensor(f'{name}.bias', np.zeros(VISION, np.float32))


def _linear(writer: Any, random: np.random.Generator, name: str, inputs: int, outputs: int) -> None:
    _add(writer, random, f'{name}.weight', (outputs, inputs))
    writer.add_tensor(f'{name}.bias', np.zeros(outputs, np.float32))


def _close(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    write_model(folder / 'model.gguf', np.random.default_rng(1))
    write_projector(folder / 'mmproj.gguf', np.random.default_rng(2))
