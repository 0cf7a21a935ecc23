# SPDX-License-Identifier: Apache-2.0
"""What a model takes follows from its shape: the numbers of the published models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penguin_ros.board_memory.needs import (
    ModelSizes,
    RunSizes,
    build_bytes,
    decoder_scratch,
    encoder_scratch,
    scratch,
    slot_bytes,
)
from penguin_ros.checkpoint.published_shapes import PUBLISHED

MODELS = {name: ModelSizes(shape, 10**9, 9 * 10**8) for name, shape in PUBLISHED.items()}
RUN = RunSizes(2, 2048, 512, 4096)


@pytest.mark.parametrize(('name', 'position'), [('2b', 114_688), ('8b', 147_456)])
def test_a_slot_holds_keys_and_values_of_every_layer(name: str, position: int) -> None:
    assert slot_bytes(MODELS[name], 2048) == 2048 * position


def test_attention_that_is_no_kernel_of_its_own_keeps_its_scores_twice() -> None:
    """16 heads of 4096 x 4096 scores in float32 are 1.07 GB, before and after the softmax."""
    model = MODELS['2b']
    scores = encoder_scratch(model, 4096, False) - encoder_scratch(model, 4096, True)
    assert scores == 2 * 16 * 4096**2 * 4
    assert 0.1e9 < encoder_scratch(model, 4096, True) < 0.3e9
    assert encoder_scratch(model, 1536, False) < 0.4e9


def test_encoder_and_decoder_share_their_scratch() -> None:
    model = MODELS['2b']
    assert scratch(model, RUN) == encoder_scratch(model, 4096, False)
    few = replace(RUN, max_patches=16)
    assert scratch(model, few) == decoder_scratch(model, few)
    assert decoder_scratch(model, replace(few, is_fused=True)) < decoder_scratch(model, few)
    assert scratch(model, replace(RUN, scratch_bytes=5)) == 5, 'what the engines say counts'


def test_a_build_holds_the_weights_three_times_before_tensorrt_10_13_and_twice_from_then_on() -> (
    None
):
    assert build_bytes(10**9, 10**8, False) == 3 * 10**9 + 10**8 + 16 * 10**8
    assert build_bytes(10**9, 10**8, True) == 2 * 10**9 + 10**8 + 16 * 10**8
