# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny Qwen2-VL of random weights, which vLLM takes pictures and videos for: `python
tiny_qwen.py FOLDER`, in a python that has torch and transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HIDDEN = 64
MARKS = {
    'vision_start_token_id': '<|vision_start|>',
    'vision_end_token_id': '<|vision_end|>',
    'image_token_id': '<|image_pad|>',
    'video_token_id': '<|video_pad|>',
}
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    '{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}\n'
    '{% endfor %}assistant: '
)


def write_qwen(folder: Path) -> None:
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
    )
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    tokenizer = _tokenizer()
    torch.manual_seed(1)
    config = Qwen2VLConfig(
        text_config=_text_config(tokenizer),
        vision_config=_vision_config(),
        tie_word_embeddings=False,
        **{name: tokenizer.convert_tokens_to_ids(mark) for name, mark in MARKS.items()},
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        'vocab_size': len(tokenizer),
        'hidden_size': HIDDEN,
        'intermediate_size': 128,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'num_key_value_heads': 2,
        'max_position_embeddings': 8192,
        'eos_token_id': tokenizer.eos_token_id,
        'bos_token_id': tokenizer.eos_token_id,
        'pad_token_id': tokenizer.pad_token_id,
        'rope_parameters': {
            'rope_type': 'default',
            'rope_theta': 10000.0,
            'mrope_section': [4, 6, 6],
        },
    }


def _vision_config() -> dict[str, Any]:
    return {
        'depth': 2,
        'embed_dim': HIDDEN,
        'hidden_size': HIDDEN,
        'num_heads': 2,
        'mlp_ratio': 2,
        'in_channels': 3,
        'patch_size': 14,
        'spatial_merge_size': 2,
        'temporal_patch_size': 2,
    }


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token='<end>', pad_token='<pad>')
    tokenizer.add_special_tokens({'additional_special_tokens': list(MARKS.values())})
    return tokenizer


if __name__ == '__main__':
    write_qwen(Path(sys.argv[1]))
