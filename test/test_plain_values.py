# SPDX-License-Identifier: Apache-2.0
"""Dataclasses survive the way to plain values and back, and what does not fit is named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from penguin_ros.plain_values import PlainFormat, PlainValueError, from_plain, to_plain


@dataclass(frozen=True)
class Wheel:
    radius_m: float
    place: tuple[float, float]
    material: str = 'rubber'


@dataclass(frozen=True)
class Robot:
    name: str
    wheels: tuple[Wheel, ...]
    sizes: tuple[int | str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    lives_s: float = math.inf


LOOSE = PlainFormat(has_defaults=True, has_endless=True, choices={'Wheel.material': ('rubber',)})
WHEEL = {'radius_m': 0.5, 'place': [1.0, 2.0], 'material': 'rubber'}
WHOLE = {'name': 'r', 'wheels': [WHEEL], 'sizes': [1, 'n'], 'versions': {'a': 1}, 'lives_s': 2.0}
ROBOT = Robot('r', (Wheel(0.5, (1.0, 2.0)),), (1, 'n'), {'a': 1}, 2.0)


def test_a_value_survives_json() -> None:
    assert to_plain(ROBOT) == WHOLE
    assert from_plain(Robot, json.loads(json.dumps(WHOLE)), 'robot') == ROBOT


def test_infinity_is_null_where_the_format_says_so() -> None:
    endless = Robot('r', ())
    assert to_plain(endless, LOOSE)['lives_s'] is None
    assert from_plain(Robot, to_plain(endless, LOOSE), 'robot', LOOSE) == endless
    with pytest.raises(PlainValueError, match=r'robot\.lives_s = None: it takes a float'):
        from_plain(Robot, {**WHOLE, 'lives_s': None}, 'robot')


def test_a_missing_field_has_its_default_only_where_the_format_says_so() -> None:
    record = {'name': 'r', 'wheels': [{'radius_m': 1, 'place': [0, 0]}]}
    assert from_plain(Robot, record, 'robot', LOOSE) == Robot('r', (Wheel(1.0, (0.0, 0.0)),))
    with pytest.raises(PlainValueError, match='robot is incomplete: it lacks sizes'):
        from_plain(Robot, record, 'robot')
    with pytest.raises(PlainValueError, match='robot is incomplete: it lacks name'):
        from_plain(Robot, {'wheels': []}, 'robot', LOOSE)


@pytest.mark.parametrize(
    ('change', 'what', 'why'),
    [
        ({'colour': 'red'}, 'robot has an unknown colour', 'it has name, wheels'),
        ({'name': 3}, 'robot.name = 3', 'it takes a str'),
        ({'wheels': WHEEL}, 'robot.wheels = {', 'it takes a list'),
        ({'wheels': [3]}, 'robot.wheels[0] = 3', 'it takes an object with radius_m'),
        ({'wheels': [{**WHEEL, 'place': [1]}]}, 'robot.wheels[0].place = [1]', 'a list of 2'),
        ({'wheels': [{**WHEEL, 'radius_m': True}]}, 'robot.wheels[0].radius_m', 'a float'),
        ({'wheels': [{**WHEEL, 'radius_m': math.nan}]}, 'radius_m = nan', 'a float'),
        ({'wheels': [{**WHEEL, 'material': 'wood'}]}, "material = 'wood'", 'one of rubber'),
        ({'sizes': [1.5]}, 'robot.sizes[0] = 1.5', 'it takes an int or str'),
        ({'versions': {'a': 'x'}}, "robot.versions.a = 'x'", 'it takes an int'),
        ({'versions': {1: 1}}, 'robot.versions = 1', 'it takes a str'),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], what: str, why: str) -> None:
    with pytest.raises(PlainValueError) as raised:
        from_plain(Robot, {**WHOLE, **change}, 'robot', LOOSE)
    assert what in raised.value.what and why in raised.value.why


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(PlainValueError) as raised:
        from_plain(Robot, {**WHOLE, 'name': ['x' * 1000]}, 'robot')
    assert len(str(raised.value)) < 200
