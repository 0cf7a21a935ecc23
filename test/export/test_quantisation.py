# SPDX-License-Identifier: Apache-2.0
"""Rounding weights to int8 and int4: bounds of the error, exact cases, what zeros and tiny values
become.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.needed_packages import onnx

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.export import quantisation
from penguin_ros.export.quantisation import LIMITS, Rounded, packed, quantise

FORMATS = ('F32', 'F16', 'BF16')


def restored(rounded: Rounded) -> np.ndarray:
    outputs, inputs = rounded.values.shape
    blocks = (
        rounded.values.reshape(outputs, rounded.scales.shape[1], -1) * rounded.scales[:, :, None]
    )
    return blocks.reshape(outputs, inputs)


def normal(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.02)


@pytest.mark.parametrize('block', [16, 64, 256])
@pytest.mark.parametrize('scale_format', FORMATS)
def test_int8_is_off_by_half_a_step_at_most(block: int, scale_format: str) -> None:
    weights = normal((6, 256))
    rounded = quantise(weights, 'int8', block, scale_format)
    steps = np.repeat(rounded.scales, block, axis=1)
    # A scale that was itself rounded may end the range a little before the largest weight.
    slack = {'F32': 1e-5, 'F16': 1e-3, 'BF16': 8e-3}[scale_format] * 127
    assert (np.abs(restored(rounded) - weights) <= steps * (0.5 + slack)).all()


@pytest.mark.parametrize('kind, limit', [('int8', 0.0075), ('int4', 0.105)])
def test_the_loss_on_normal_weights_is_as_documented(kind: str, limit: float) -> None:
    weights = normal((64, 2048))
    loss = np.linalg.norm(restored(quantise(weights, kind, 128, 'F32')) - weights) / np.linalg.norm(
        weights
    )
    assert 0.5 * limit < loss < limit


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(FORMATS), st.floats(1.5, 30.0))
def test_no_block_loses_more_than_with_its_largest_weight_as_range(
    seed: int, scale_format: str, tail: float
) -> None:
    """The search over clips only ever helps; `tail` makes some weights far larger than the rest."""
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((8, 128)) * 0.02).astype(np.float32)
    weights[random.random((8, 128)) < 0.02] *= np.float32(tail)
    plain = np.abs(weights).max(1, keepdims=True) / np.float32(7)
    plain = widened(*narrowed(scale_format, plain))
    expected = np.square(np.clip(np.rint(weights / plain), *LIMITS['int4']) * plain - weights).sum(
        1
    )
    got = np.square(restored(quantise(weights, 'int4', 128, scale_format)) - weights).sum(1)
    assert (got <= expected * 1.0001).all()


@pytest.mark.parametrize('kind', LIMITS)
def test_weights_that_are_integers_times_a_scale_come_back_exactly(kind: str) -> None:
    high = LIMITS[kind][1]
    integers = np.random.default_rng(1).integers(-high, high + 1, (16, 64))
    integers[:, ::32] = high
    weights = integers.astype(np.float32) * np.float32(2.0**-7)
    rounded = quantise(weights, kind, 32, 'F16')
    assert np.array_equal(rounded.values, integers)
    assert np.array_equal(restored(rounded), weights)


@pytest.mark.parametrize('kind', LIMITS)
@pytest.mark.parametrize('scale_format', FORMATS)
def test_zeros_stay_zero_and_tiny_weights_do_not_explode(kind: str, scale_format: str) -> None:
    weights = np.zeros((4, 128), np.float32)
    weights[1] = 1e-9
    weights[2, 5] = -1e-30
    rounded = quantise(weights, kind, 64, scale_format)
    assert (rounded.scales > 0).all() and np.isfinite(rounded.scales).all()
    assert not rounded.values[[0, 3]].any()
    assert np.abs(restored(rounded) - weights).max() <= 1e-9


@pytest.mark.parametrize('scale_format', FORMATS)
def test_scales_are_what_their_format_can_hold(scale_format: str) -> None:
    scales = quantise(normal((8, 256)), 'int4', 64, scale_format).scales
    assert np.array_equal(widened(*narrowed(scale_format, scales)), scales)


def test_tiles_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantise(normal((32, 256)), 'int4', 64, 'F32')
    monkeypatch.setattr(quantisation, 'TILE_ELEMENTS', 200)
    tiled = quantise(normal((32, 256)), 'int4', 64, 'F32')
    assert np.array_equal(whole.values, tiled.values) and np.array_equal(whole.scales, tiled.scales)


def test_pairs_of_int4_lie_as_onnx_has_them() -> None:
    values = np.random.default_rng(2).integers(-8, 8, (6, 5)).astype(np.int8)
    raw = np.ascontiguousarray(packed(values))
    assert raw.shape == (5, 3)
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=(5, 6), raw_data=raw.tobytes())
    assert np.array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), values.T)
