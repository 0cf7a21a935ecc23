# SPDX-License-Identifier: Apache-2.0
"""Settings are checked and changed by name, all of them or none."""

from __future__ import annotations

import math

import pytest

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.settings import changed_values, with_current_names, with_values


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
        ('clip.max_frames', 2.5, 'a whole number'),
        ('clip.max_frames', True, 'a whole number'),
        ('caption.enabled', 1, 'true or false'),
        ('caption.prompt', '  ', 'caption.prompt'),
        ('caption.prompt', 'a\0b', 'NUL'),
        ('visual.policy', 'best', 'reference, fixed'),
        ('clip.secnds', 1.0, 'Did you mean clip.seconds'),
        ('clip', 1.0, 'unknown setting'),
        ('clip.seconds', None, 'a number'),
        ('clip.seconds', 3000.0, 'buffer.seconds'),
        ('clip.seconds', '4', 'a number'),
    ],
)
def test_nonsense_is_refused_with_the_reason(name: str, value: object, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        with_values(PenguinConfig(), {name: value})


def test_settings_that_depend_on_each_other_are_checked_after_all_are_set() -> None:
    config = with_values(PenguinConfig(), {'clip.seconds': 100.0, 'buffer.seconds': 200.0})
    assert config.clip.seconds == 100.0


def test_what_changed_is_named_with_its_new_value() -> None:
    before = PenguinConfig()
    after = with_values(before, {'clip.fps': 4.0, 'caption.enabled': True, 'caption.gate': True})
    assert changed_values(before, after) == {'clip.fps': 4.0, 'caption.gate': True}
    assert changed_values(after, after) == {}


def test_old_names_become_current_ones_and_a_current_name_that_is_given_counts() -> None:
    renamed = {'a.old': 'a.new', 'b.old': 'b.new'}
    values, warnings = with_current_names({'a.old': 1, 'b.new': 2, 'b.old': 3, 'c.x': 4}, renamed)
    assert values == {'a.new': 1, 'b.new': 2, 'c.x': 4}
    assert [('a.old' in text, 'ignored' in text) for text in warnings] == [
        (True, False),
        (False, True),
    ]
