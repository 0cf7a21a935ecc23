# SPDX-License-Identifier: Apache-2.0
"""The LLM against transformers' own Qwen3 on the same random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, tokens
from support.memory_checkpoint import MemoryCheckpoint

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.shapes import TransformerShape

torch = pytest.importorskip('torch', reason='torch is not installed')
transformers = pytest.importorskip('transformers', reason='transformers is not installed')

SHAPES = {
    'tied, head_dim above hidden / heads': (
        TransformerShape(3, 64, 160, 4, 2, 24, 1e6, 1e-6),
        True,
    ),
    'untied, head_dim below hidden / heads': (
        TransformerShape(2, 96, 100, 6, 2, 8, 5e5, 1e-5),
        False,
    ),
    'one head of keys': (TransformerShape(2, 32, 48, 4, 1, 16, 1e4, 1e-6), False),
    'as many keys as queries': (TransformerShape(2, 32, 48, 2, 2, 32, 1e6, 1e-6), True),
}


def qwen3(checkpoint: MemoryCheckpoint) -> Any:
    """Returns transformers' network with all the weights of `checkpoint`."""
    llm = checkpoint.shape.llm
    config = transformers.Qwen3Config(
        vocab_size=checkpoint.shape.vocabulary_size,
        hidden_size=llm.hidden_size,
        intermediate_size=llm.ffn_size,
        num_hidden_layers=llm.layers,
        num_attention_heads=llm.heads,
        num_key_value_heads=llm.kv_heads,
        head_dim=llm.head_dim,
        rope_theta=llm.rope_theta,
        rms_norm_eps=llm.norm_eps,
        tie_word_embeddings=checkpoint.shape.is_tied,
        attn_implementation='eager',
    )
    model = transformers.Qwen3ForCausalLM(config).eval()
    published = {
        name: 'lm_head.weight' if 'lm_head' in name else 'model.' + name.removeprefix('llm.')
        for name in checkpoint.names()
        if name.startswith('llm.')
    }
    model.load_state_dict(
        {
            other: torch.from_numpy(checkpoint.read_raw(name)[1].copy())
            for name, other in published.items()
        }
    )
    return model


@pytest.fixture(params=SHAPES)
def pair(request: pytest.FixtureRequest) -> tuple[TorchBackend, Any]:
    """This project's backend, open, and transformers' network."""
    llm, is_tied = SHAPES[request.param]
    checkpoint = MemoryCheckpoint(llm=llm, is_tied=is_tied, seed=3)
    backend = TorchBackend(checkpoint, CONFIG)  # type: ignore[arg-type]
    backend.open()
    return backend, qwen3(checkpoint)


def difference(ours: np.ndarray, theirs: Any) -> float:
    """Returns the largest relative error of a row."""
    reference = theirs.numpy()
    assert ours.shape == reference.shape
    return float(
        (np.linalg.norm(ours - reference, axis=-1) / np.linalg.norm(reference, axis=-1)).max()
    )


def test_logits_of_every_position_are_those_of_transformers(pair: tuple[TorchBackend, Any]) -> None:
    backend, model = pair
    ids = tokens(5, 48)
    with torch.inference_mode():
        expected = model(torch.from_numpy(ids)[None]).logits[0]
    assert difference(backend.forward(backend.new_slot(), Chunk(ids), range(48)), expected) < 1e-4


def test_cached_steps_are_those_of_transformers(pair: tuple[TorchBackend, Any]) -> None:
    backend, model = pair
    slot, cache = backend.new_slot(), None
    with torch.inference_mode():
        for ids in (tokens(6, 20), *tokens(7, 12)[:, None], tokens(8, 9)):
            made = model(torch.from_numpy(ids)[None], past_key_values=cache, use_cache=True)
            cache = made.past_key_values
            assert (
                difference(backend.forward(slot, Chunk(ids), range(len(ids))), made.logits[0])
                < 1e-4
            )


def test_a_chunk_that_runs_in_parts_equals_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from penguin_ros.backends.torch import decoder

    backend = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    backend.open()
    whole = backend.forward(backend.new_slot(), Chunk(tokens(1, 50)), range(50))
    monkeypatch.setattr(decoder, '_PART_TOKENS', 7)
    parts = backend.forward(backend.new_slot(), Chunk(tokens(1, 50)), range(50))
    assert difference(parts, torch.from_numpy(whole)) < 1e-4
