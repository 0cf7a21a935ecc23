# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny LLaVA of random weights for transformers: `python tiny_llava.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

HIDDEN = 32
IMAGE, PATCH = 56, 14
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}"
    '{% else %}<image>{% endif %}{% endfor %}{% endif %}\n{% endfor %}assistant: '
)


def write_llava(folder: Path) -> None:
    import torch
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = _tokenizer()
    torch.manual_seed(1)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE,
        patch_size=PATCH,
        projection_dim=HIDDEN,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids('<image>'),
        image_seq_length=(IMAGE // PATCH) ** 2,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {'height': IMAGE, 'width': IMAGE}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={'shortest_edge': IMAGE}, crop_size=size),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy='default',
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)


def _tokenizer():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token='<end>',
        pad_token='<pad>',
        extra_special_tokens={'image_token': '<image>'},
    )


if __name__ == '__main__':
    write_llava(Path(sys.argv[1]))
