# SPDX-License-Identifier: Apache-2.0
"""Published names become canonical ones and back."""

from __future__ import annotations

import pytest

from penguin_ros.checkpoint.tensor_names import (
    canonical_name,
    expected_shapes,
    is_ignored,
    published_name,
)
from penguin_ros.testing.random_checkpoint import SHAPES


@pytest.mark.parametrize('is_nested', [True, False])
def test_every_canonical_name_comes_back_from_its_published_one(is_nested: bool) -> None:
    names = expected_shapes(SHAPES['tiny'])
    assert [canonical_name(published_name(name, is_nested)) for name in names] == list(names)


@pytest.mark.parametrize(
    'published, canonical',
    [
        (
            'model.vision_encoder.vision_encoder.embeddings.patch_embedding.bias',
            'encoder.patch_embedding.bias',
        ),
        ('model.vision_encoder.embeddings.patch_embedding.bias', 'encoder.patch_embedding.bias'),
        (
            'model.vision_encoder.vision_encoder.encoder.layers.7.mlp.up_proj.weight',
            'encoder.layers.7.mlp.up_proj.weight',
        ),
        ('model.vision_encoder.encoder.norm.weight', 'encoder.norm.weight'),
        ('model.vision_projector.readout.2.weight', 'projector.2.weight'),
        ('model.norm.weight', 'llm.norm.weight'),
        ('lm_head.weight', 'llm.lm_head.weight'),
    ],
)
def test_published_names_of_both_layouts_are_known(published: str, canonical: str) -> None:
    assert canonical_name(published) == canonical


@pytest.mark.parametrize(
    'published',
    [
        'norm.weight',
        'model.lm_head.weight',
        '',
        'model',
        'lm_head',
        'vision_encoder.norm.weight',
        'model.vision_encoder.encoder.patch_embedding.weight',
    ],
)
def test_names_that_only_look_alike_are_not_taken(published: str) -> None:
    assert canonical_name(published) not in expected_shapes(SHAPES['tiny'])


@pytest.mark.parametrize(
    'name, expected',
    [
        ('rotary_emb.inv_freq', True),
        ('model.layers.0.rotary_emb.cos', True),
        ('model.rotary_embedding.x', False),
        ('model.norm.weight', False),
    ],
)
def test_rotary_buffers_are_told_from_weights(name: str, expected: bool) -> None:
    assert is_ignored(name) is expected


def test_shapes_keep_head_dim_apart_from_hidden_size() -> None:
    shapes = expected_shapes(SHAPES['tiny'])
    assert shapes['llm.layers.0.self_attn.q_proj.weight'] == (96, 64)
    assert shapes['llm.layers.0.self_attn.k_proj.weight'] == (48, 64)
    assert shapes['llm.layers.0.self_attn.o_proj.weight'] == (64, 96)
    assert shapes['encoder.patch_embedding.weight'] == (48, 588)
