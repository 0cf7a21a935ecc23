# SPDX-License-Identifier: Apache-2.0
"""An LLM of the same shape in plain transformers, with random weights, in a process of its own: the
yardstick of `gpu_paths.py`. Prints one line of JSON per way.

`python gpu_transformers.py SHAPE DEVICE PROMPT_TOKENS DECODED_TOKENS`
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from penguin_ros.testing.random_checkpoint import SHAPES

WAYS: dict[str, dict[str, Any]] = {
    'transformers, eager': {},
    'transformers, static cache, compiled': {'cache_implementation': 'static'},
}


def model_of(shape_name: str, device: str) -> Any:
    """Makes the model in bfloat16 on a GPU and in float32 on a CPU."""
    shape = SHAPES[shape_name]
    config = Qwen3Config(
        vocab_size=shape.vocabulary_size,
        hidden_size=shape.llm.hidden_size,
        intermediate_size=shape.llm.ffn_size,
        num_hidden_layers=shape.llm.layers,
        num_attention_heads=shape.llm.heads,
        num_key_value_heads=shape.llm.kv_heads,
        head_dim=shape.llm.head_dim,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=shape.is_tied,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.set_default_dtype(torch.bfloat16 if device == 'cuda' else torch.float32)
    with torch.device(device):
        return Qwen3ForCausalLM(config).eval()


def seconds(model: Any, ids: torch.Tensor, count: int, extra: dict[str, Any]) -> float:
    """Returns the seconds of generating `count` tokens greedily."""
    if ids.device.type == 'cuda':
        torch.cuda.synchronize()
    begin = time.perf_counter()
    model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, **extra)
    if ids.device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main(shape_name: str, device: str, prompt_tokens: int, decoded_tokens: int) -> None:
    """Measures each way, the second time counting."""
    model = model_of(shape_name, device)
    limit = min(5000, SHAPES[shape_name].vocabulary_size)
    ids = torch.randint(10, limit, (1, prompt_tokens), device=device)
    ways = WAYS if device == 'cuda' else {'transformers, eager': {}}
    for name, extra in ways.items():
        for count in (1, 1 + decoded_tokens):
            seconds(model, ids, count, extra)
        first = seconds(model, ids, 1, extra)
        token = (seconds(model, ids, 1 + decoded_tokens, extra) - first) / decoded_tokens
        figures = {'first token of text': 1e3 * first, 'token': 1e3 * token}
        print(json.dumps({'way': name, 'figures': figures}), flush=True)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
