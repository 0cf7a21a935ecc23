# SPDX-License-Identifier: Apache-2.0
"""Whole passes of a small network, by Triton's interpreter, against numpy in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.kernel_network import ROOM, SHAPE, NumpyNetwork, SmallNetwork, finished, heads_of
from support.kernel_runs import needs_triton

from penguin_ros.kernels import reference
from penguin_ros.kernels.interpreter import Interpreter
from penguin_ros.kernels.network import Formats
from penguin_ros.kernels.passes import encoder_pass, few_heads_pass, one_row_pass, rows_pass

pytestmark = needs_triton

SLOW = pytest.mark.slow  # together they take long

CLOSE = 6e-3
"""Of the largest logit: what activations of 16 bits make of it."""


@pytest.fixture(scope='module')
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(64 * 1024 * 1024) as interpreter:
        yield interpreter


def assert_close(found: np.ndarray, wanted: np.ndarray, share: float = CLOSE) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())


def causal(past: int, rows: int) -> np.ndarray:
    return np.tri(rows, past + rows, past, dtype=bool)


@pytest.mark.parametrize('bits', (4, pytest.param(8, marks=SLOW), pytest.param(16, marks=SLOW)))
def test_steps_follow_one_another_on_the_device(interpreter: Interpreter, bits: int) -> None:
    small = SmallNetwork(interpreter, Formats(llm=bits, head=bits))
    numpy = NumpyNetwork(small)
    small['tokens'], small['state'] = [7], [0, 1, 0, 0]
    token, wanted = 7, []
    for position in range(3):
        small.run(one_row_pass(small.network))
        x = small.weights['llm.embedding'][[token]]
        logits = numpy.append(x, np.array([position]), causal(position, 1))[0]
        assert_close(small['logits'][: SHAPE.vocabulary_size], logits)
        token = int(small['chosen'][position])
        wanted.append(int(logits.argmax()))
    assert list(small['chosen'][:3]) == wanted
    assert list(small['state'][:4]) == [3, 1, 0, 3] and small['tokens'][0] == token
    np.testing.assert_allclose(small['chosen_logits'][2], logits.max(), rtol=1e-2)


@SLOW
@pytest.mark.parametrize('rows', (5, 21))
def test_rows_at_once_see_what_one_after_another_does(interpreter: Interpreter, rows: int) -> None:
    small = SmallNetwork(interpreter, Formats())
    numpy = NumpyNetwork(small)
    tokens = np.random.default_rng(rows).integers(0, SHAPE.vocabulary_size, rows + 6)
    slot = ROOM.pitch * small.network.llm.position_numbers
    for past, part in ((0, tokens[:6]), (6, tokens[6:])):
        small['tokens'], small['angles'] = part, past + np.arange(len(part))
        small['state'] = [past, len(part), slot]
        small.run(rows_pass(small.network, len(part), False), len(part))
        x = small.weights['llm.embedding'][part]
        wanted = numpy.append(x, past + np.arange(len(part)), causal(past, len(part)))
    chosen = [0, rows - 1]
    small['wanted'], small['head_state'] = chosen, [0, 2]
    small.run(few_heads_pass(small.network), 2)
    found = small['logits'].reshape(-1, SHAPE.vocabulary_size)[:2]
    assert_close(found, wanted[chosen])
    assert list(small['chosen'][:2]) == list(found.argmax(axis=1))
    assert not small['cache'][:slot].any()


@pytest.mark.parametrize(
    'compute',
    ('fp16', pytest.param('bf16', marks=SLOW)),
)
def test_keys_and_values_in_int8_cost_little_and_are_read_by_every_pass(
    interpreter: Interpreter, compute: str
) -> None:
    small = SmallNetwork(interpreter, Formats(compute, cache='i8'))
    numpy = NumpyNetwork(small)
    prompt, rows = np.arange(5), np.array([9, 11])
    slot = ROOM.pitch * small.network.llm.position_numbers
    for past, tokens in ((0, prompt), (5, rows)):
        places = past + np.arange(len(tokens))
        small['tokens'], small['angles'], small['state'] = tokens, places, [past, len(tokens), slot]
        small.run(rows_pass(small.network, len(tokens), False), len(tokens))
        x = small.weights['llm.embedding'][tokens]
        numpy.append(x, places, causal(past, len(tokens)))
    small['tokens'], small['state'] = [13], [7, 1, slot, 0]
    small.run(one_row_pass(small.network))
    x = small.weights['llm.embedding'][[13]]
    wanted = numpy.append(x, np.array([7]), causal(7, 1))[0]
    assert_close(small['logits'][: SHAPE.vocabulary_size], wanted, 8 * CLOSE)
    kept = small['cache'][slot:].reshape(2, 2, 2, ROOM.pitch, 16)
    scales = small['kv_scales'][slot // 16 :].reshape(2, 2, 2, ROOM.pitch)
    read = kept[..., :8, :] * scales[..., :8, None]
    for layer, pair in enumerate(zip(numpy.keys, numpy.values, strict=True)):
        for kind, exact in enumerate(pair):
            assert_close(read[layer, kind], exact, 0.03)
    assert not kept[..., 8:, :].any() and not small['cache'][:slot].any()


@SLOW
@pytest.mark.parametrize('bits', (4, 8, 16))
def test_bfloat16_is_as_close_as_its_digits_allow(interpreter: Interpreter, bits: int) -> None:
    formats = Formats('bf16', llm=bits, head=bits, table='bf16')
    small = SmallNetwork(interpreter, formats)
    numpy = NumpyNetwork(small)
    tokens = np.arange(5)
    small['tokens'], small['angles'], small['state'] = tokens, tokens, [0, 5, 0]
    small.run(rows_pass(small.network, 5, False), 5)
    numpy.append(small.weights['llm.embedding'][tokens], tokens, causal(0, 5))
    small['tokens'], small['state'] = [9], [5, 1, 0, 0]
    small.run(one_row_pass(small.network))
    x = small.weights['llm.embedding'][[9]]
    wanted = numpy.append(x, np.array([5]), causal(5, 1))[0]
    assert_close(small['logits'][: SHAPE.vocabulary_size], wanted, 8 * CLOSE)


@SLOW
def test_branches_see_their_own_past_only(interpreter: Interpreter) -> None:
    small = SmallNetwork(interpreter, Formats())
    numpy = NumpyNetwork(small)
    prompt, branches = np.array([3, 4, 5, 6]), np.array([10, 11, 20, 21])
    is_visible = np.zeros((4, 8), bool)
    is_visible[:, :4] = True
    is_visible[[0, 1, 1, 2, 3, 3], [4, 4, 5, 6, 6, 7]] = True
    angles = np.array([4, 5, 4, 5])
    bits = np.zeros((4, ROOM.pitch), bool)
    bits[:, :8] = is_visible
    small['mask'] = np.packbits(bits, axis=1, bitorder='little').view(np.int32)
    for past, tokens, places in ((0, prompt, np.arange(4)), (4, branches, angles)):
        small['tokens'], small['angles'], small['state'] = tokens, places, [past, 4, 0]
        small.run(rows_pass(small.network, 4, past > 0), 4)
        x = small.weights['llm.embedding'][tokens]
        wanted = numpy.append(x, places, is_visible if past else causal(0, 4))
    small['wanted'], small['head_state'] = np.arange(4), [0, 4]
    small.run(few_heads_pass(small.network), 4)
    assert_close(small['logits'].reshape(-1, SHAPE.vocabulary_size)[:4], wanted)


@pytest.mark.parametrize('merge', (pytest.param(1, marks=SLOW), 2))
def test_a_frame_becomes_visual_tokens(interpreter: Interpreter, merge: int) -> None:
    small = SmallNetwork(interpreter, Formats())
    draw = np.random.default_rng(0)
    patches, values = 20, SHAPE.patch_values
    levels = draw.integers(0, 256, (patches, values)).astype(np.uint8)
    table = np.linspace(-1, 1, 256) * np.array([[1.0], [0.9], [0.8]])
    angles = draw.uniform(0, 20, (patches, 16))
    rope = np.cos(angles), np.sin(angles)
    tokens = patches // merge**2
    small['levels'], small['level_table'] = levels, table
    small['encoder.rope'] = np.concatenate(rope, axis=1)
    small['encoder.state'], small['encoder.head_state'] = [0, patches, 0, 0, patches], [0, tokens]
    small['merge_weights'] = np.full(merge**2, 1 / merge**2)
    *steps, end = encoder_pass(small.network, True)
    for step in steps:
        small.run(step, patches, pitch=32)
    small.run(end, tokens, merge_count=merge**2)

    weights = small.weights
    pixels = table[np.arange(values) // (values // 3), levels]
    x = pixels @ weights['encoder.patch_embedding'].T + weights['encoder.patch_embedding.bias']
    queries, keys, mixed_values = heads_of(weights, 'encoder.layers.0.', x, *rope)
    mixed = reference.attend(
        queries,
        keys.transpose(1, 0, 2),
        mixed_values.transpose(1, 0, 2),
        np.ones((patches, patches), bool),
    )
    x = finished(weights, 'encoder.layers.0.', x, mixed)
    normed = reference.rms_norm(x, weights['encoder.norm.weight'], 1e-6)
    merged = normed.reshape(tokens, merge**2, -1).mean(axis=1)
    hidden = reference.gelu(merged @ weights['projector.0'].T + weights['projector.0.bias'])
    wanted = hidden @ weights['projector.2'].T + weights['projector.2.bias']
    found = small['new_features'].reshape(-1, small.network.llm.hidden)[:tokens]
    assert_close(found[:, : SHAPE.llm.hidden_size], wanted)
    assert not found[:, SHAPE.llm.hidden_size :].any()
