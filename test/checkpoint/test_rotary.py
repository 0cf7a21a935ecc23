# SPDX-License-Identifier: Apache-2.0
"""Rotary positions: the base in any spelling, and scaled positions refused in any spelling."""

from __future__ import annotations

from typing import Any

import pytest

from penguin_ros.checkpoint.json_file import JsonFile
from penguin_ros.checkpoint.rotary import read_rope_theta
from penguin_ros.errors import CheckpointConfigError


def theta(**values: Any) -> float:
    return read_rope_theta(JsonFile(values, 'config.json'))


@pytest.mark.parametrize(
    'values',
    [
        {'rope_theta': 5e5},
        {'rope_theta': 5e5, 'rope_scaling': None},
        {'rope_theta': 5e5, 'rope_scaling': {}},
        {'rope_theta': 5e5, 'rope_scaling': {'type': 'default'}},
        {'rope_theta': 5e5, 'rope_scaling': {'rope_type': 'default', 'factor': 1.0}},
        {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}},
        {'rope_theta': 5e5, 'rope_parameters': {'rope_type': 'default', 'rope_theta': 500000}},
        {'rope_parameters': {'full_attention': {'rope_type': 'default', 'rope_theta': 5e5}}},
        {'rotary_emb_base': 5e5, 'partial_rotary_factor': 1.0},
    ],
)
def test_the_base_is_read_in_any_spelling(values: dict[str, Any]) -> None:
    assert theta(**values) == 5e5


@pytest.mark.parametrize(
    'scaling',
    [
        {'type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 1024},
        {'rope_type': 'yarn', 'factor': 4.0},
        {'type': 'linear', 'factor': 2.0},
        {'type': 'dynamic', 'factor': 2.0},
        {'rope_type': 'llama3', 'factor': 8.0},
        {'type': 'mrope', 'mrope_section': [16, 24, 24]},
        {'rope_type': 'default', 'mrope_section': [16, 24, 24]},
        {'factor': 4.0},
        {'type': 'default', 'rope_type': 'yarn'},
        {'rope_type': 'default', 'partial_rotary_factor': 0.5},
        {'full_attention': {'rope_type': 'yarn', 'factor': 4.0}},
        {'rope_type': 'something new'},
    ],
)
@pytest.mark.parametrize('key', ['rope_scaling', 'rope_parameters'])
def test_scaled_positions_are_refused_by_name(scaling: dict[str, Any], key: str) -> None:
    with pytest.raises(CheckpointConfigError, match=f'{key} asks for .*only unscaled'):
        theta(rope_theta=1e6, **{key: scaling})


def test_scaling_beside_the_others_is_refused_too() -> None:
    for key, value in (('partial_rotary_factor', 0.5), ('rotary_pct', 0.25), ('rope_ratio', 8)):
        with pytest.raises(CheckpointConfigError, match=key):
            theta(rope_theta=1e6, **{key: value})


@pytest.mark.parametrize(
    'other',
    [
        {'rope_parameters': {'rope_theta': 5e6}},
        {'rope_scaling': {'type': 'default', 'rope_theta': 5e6}},
        {'rotary_emb_base': 10000},
        {'rope_parameters': {'full_attention': {'rope_theta': 1e4}}},
    ],
)
def test_two_bases_that_contradict_each_other_are_refused_with_both(other: dict[str, Any]) -> None:
    with pytest.raises(CheckpointConfigError, match='rope_theta is 1e.06, .* is .*only one'):
        theta(rope_theta=1e6, **other)


def test_a_missing_base_is_named() -> None:
    with pytest.raises(CheckpointConfigError, match='has no rope_theta'):
        theta(rope_scaling={'type': 'default'})
