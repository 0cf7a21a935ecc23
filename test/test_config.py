# SPDX-License-Identifier: Apache-2.0
"""Settings: defined once, checked, never half applied."""

from __future__ import annotations

import math

import pytest

from penguin_ros.config import PenguinConfig, settings, with_values
from penguin_ros.errors import SettingError


def test_every_setting_has_a_text_and_a_default_within_its_range() -> None:
    for name, (value, facts) in settings().items():
        assert facts.text.endswith('.'), name
        assert with_values(PenguinConfig(), {name: value}) == PenguinConfig(), name
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert (
                facts.low is not None
                and facts.high is not None
                and facts.low <= value <= facts.high
            ), name


def test_a_changed_setting_leaves_the_others_and_the_original_alone() -> None:
    config = with_values(PenguinConfig(), {'clip.fps': 4.0, 'visual.policy': 'fixed'})
    assert (config.clip.fps, config.visual.policy) == (4.0, 'fixed')
    assert (config.clip.seconds, config.buffer) == (
        PenguinConfig().clip.seconds,
        PenguinConfig().buffer,
    )
    assert PenguinConfig().clip.fps != 4.0


def test_whole_numbers_serve_as_floats_and_the_other_way_round() -> None:
    config = with_values(PenguinConfig(), {'clip.seconds': 2, 'clip.max_frames': 5.0})
    assert isinstance(config.clip.seconds, float) and isinstance(config.clip.max_frames, int)


@pytest.mark.parametrize(
    ('name', 'value', 'named'),
    [
        ('clip.seconds', math.nan, 'clip.seconds'),
        ('clip.seconds', math.inf, 'clip.seconds'),
        ('clip.fps', 0.0, '0.01'),
        ('clip.max_frames', 2.5, 'int'),
        ('clip.max_frames', True, 'int'),
        ('caption.enabled', 1, 'bool'),
        ('caption.prompt', '  ', 'caption.prompt'),
        ('caption.prompt', 'a\0b', 'NUL'),
        ('visual.policy', 'best', 'reference, fixed'),
        ('clip.secnds', 1.0, 'Did you mean clip.seconds'),
        ('clip', 1.0, 'unknown setting'),
        ('clip.seconds', None, 'float'),
        ('clip.seconds', 3000.0, 'buffer.seconds'),
        ('clip.seconds', '4', 'float'),
    ],
)
def test_nonsense_is_refused_with_the_reason(name: str, value: object, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        with_values(PenguinConfig(), {name: value})


def test_settings_that_depend_on_each_other_are_checked_after_all_are_set() -> None:
    config = with_values(PenguinConfig(), {'clip.seconds': 100.0, 'buffer.seconds': 200.0})
    assert config.clip.seconds == 100.0
