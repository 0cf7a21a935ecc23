# SPDX-License-Identifier: Apache-2.0
"""Single operations against the formulas they stand for."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.backends.torch.buckets import LengthBuckets
from penguin_ros.backends.torch.layers import (
    apply_rope,
    attend,
    causal_mask,
    inverse_frequencies,
    position_mask,
    position_table,
    rms_norm,
    rope_of,
    rope_tables,
)
from penguin_ros.checkpoint.shapes import TransformerShape

SHAPE = TransformerShape(1, 48, 96, 4, 2, 16, 1e6, 1e-6)


def random(*shape: int) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32)
    )


def test_the_norm_is_computed_in_float32() -> None:
    """The squares of these values overflow float16."""
    x = random(3, 64) * 1000
    normed = rms_norm(x.half(), torch.ones(64, dtype=torch.float16), 1e-6).float()
    assert torch.allclose(normed, rms_norm(x, torch.ones(64), 1e-6), atol=2e-3)


def test_the_norm_rounds_where_qwen3_does() -> None:
    x, weight = random(5, 64).bfloat16(), random(64).bfloat16()
    wide = x.float()
    expected = weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).bfloat16()
    assert torch.equal(rms_norm(x, weight, 1e-6), expected)


def test_the_tables_of_two_angles_give_cos_and_rotate_half() -> None:
    x, rows, columns = (
        random(6, 3, 16),
        torch.arange(6.0)[:, None],
        torch.tensor([5.0, 0, 3, 1, 1, 2])[:, None],
    )
    frequencies = inverse_frequencies(SHAPE, torch.device('cpu'))
    turned = apply_rope(
        x, rope_tables(rows * frequencies, columns * frequencies, torch.float32)
    ).numpy()
    angles = np.concatenate(
        (rows.numpy() * frequencies.numpy(), columns.numpy() * frequencies.numpy()), axis=1
    )[:, None]
    half = np.concatenate((-x.numpy()[..., 8:], x.numpy()[..., :8]), axis=-1)
    assert np.allclose(turned, x.numpy() * np.cos(angles) + half * np.sin(angles), atol=1e-6)
    assert not np.allclose(
        np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), atol=1e-2
    ), 'it is no rotation'


@pytest.mark.parametrize(('past', 'rows'), [(0, 5), (3, 4), (7, 1)])
def test_attention_sees_the_past_and_itself(past: int, rows: int) -> None:
    queries, keys, values = (
        random(rows, 4, 16),
        random(2, past + rows, 16),
        random(2, past + rows, 16) + 1,
    )
    mixed = attend(queries, keys, values, causal_mask(past, rows, 2, queries))
    for row in range(rows):
        for head in range(4):
            seen = past + row + 1
            scores = keys[head // 2, :seen] @ queries[row, head] / 4
            expected = scores.softmax(0) @ values[head // 2, :seen]
            assert torch.allclose(mixed[row, head * 16 : head * 16 + 16], expected, atol=1e-5)


def test_attention_repeats_no_keys_and_needs_no_kernel_for_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Queries of a group are rows: as many heads as keys have, and keys and values where they
    lie, whatever kernel takes them.
    """
    seen: list[tuple[torch.Tensor, ...]] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def watched(
        queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, **more: Any
    ) -> Any:
        assert set(more) == {'attn_mask'}
        seen.append((queries, keys, values, more['attn_mask']))
        return real(queries, keys, values, **more)

    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', watched)
    cache, length = random(2, 8, 64, 16), 48
    for rows in (1, 4):
        mask = position_mask(torch.arange(rows), length, 2, cache)
        attend(random(rows, 16, 16), cache[0, :, :length], cache[1, :, :length], mask)
        queries, keys, values, bias = seen.pop()
        assert queries.shape == (1, 8, 2 * rows, 16) and bias.shape == (2 * rows, length)
        assert keys.shape == values.shape == (1, 8, length, 16)
        for given, place in ((keys, cache[0]), (values, cache[1])):
            assert given.data_ptr() == place.data_ptr() and given.stride(1) == 64 * 16
            assert given.stride(-1) == 1, 'what the memory-efficient kernel asks for'


def test_the_lengths_of_recorded_passes_need_no_copy_of_the_mask() -> None:
    """The memory-efficient kernel takes a mask whose rows are aligned, else torch pads a copy."""
    for most in (100, 1040, 4096, 5000):
        buckets = LengthBuckets(most)
        assert all(buckets.of(length) % 16 == 0 for length in range(1, most + 1, 7))


def test_the_table_of_all_positions_holds_the_rotation_of_each() -> None:
    x, places = random(3, 4, 16), torch.tensor([0, 7, 40])
    frequencies = inverse_frequencies(SHAPE, torch.device('cpu'))
    angles = places[:, None].float() * frequencies
    expected = apply_rope(x, rope_tables(angles, angles, torch.float32))
    table = position_table(SHAPE, 41, x)
    assert torch.allclose(apply_rope(x, rope_of(table[places])), expected, atol=1e-6)


def test_a_torch_without_its_own_norm_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from penguin_ros.backends.torch import layers

    x, weight = random(5, 64), random(64)
    expected = [rms_norm(x, weight, 1e-6), rms_norm(x.bfloat16(), weight.bfloat16(), 1e-6)]
    try:
        monkeypatch.delattr(torch.nn.functional, 'rms_norm', raising=False)
        older = importlib.reload(layers).rms_norm
        assert torch.allclose(older(x, weight, 1e-6), expected[0], atol=1e-6)
        assert torch.equal(older(x.bfloat16(), weight.bfloat16(), 1e-6), expected[1])
    finally:
        monkeypatch.undo()
        importlib.reload(layers)


@pytest.mark.parametrize(('past', 'rows'), [(0, 5), (3, 4), (7, 1)])
def test_a_mask_made_of_positions_over_a_longer_cache_hides_what_is_not_there(
    past: int, rows: int
) -> None:
    queries, keys, values = random(rows, 4, 16), random(2, 16, 16), random(2, 16, 16) + 1
    end = past + rows
    expected = attend(queries, keys[:, :end], values[:, :end], causal_mask(past, rows, 2, queries))
    mask = position_mask(torch.arange(past, end), 16, 2, queries)
    assert torch.allclose(attend(queries, keys, values, mask), expected, atol=1e-6)
