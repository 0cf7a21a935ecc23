# SPDX-License-Identifier: Apache-2.0
"""The settings themselves: each is described, and those that depend on each other fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penguin_ros.config import RENAMED_SETTINGS, CaptionConfig, PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.settings import settings, with_values


def test_every_setting_has_a_text_and_a_default_within_its_range() -> None:
    for name, (value, facts) in settings(PenguinConfig()).items():
        assert facts.text.endswith('.'), name
        assert with_values(PenguinConfig(), {name: value}) == PenguinConfig(), name
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert (
                facts.low is not None
                and facts.high is not None
                and facts.low <= value <= facts.high
            ), name


def test_no_configuration_has_settings_that_contradict_each_other() -> None:
    config = PenguinConfig()
    with pytest.raises(SettingError, match=r'buffer\.seconds'):
        replace(config, clip=replace(config.clip, seconds=3000.0))
    with pytest.raises(SettingError, match=r'caption\.prompt'):
        PenguinConfig(caption=CaptionConfig(prompt=' \n'))


def test_renamed_settings_lead_from_names_that_are_gone_to_names_that_exist() -> None:
    known = settings(PenguinConfig()).keys()
    assert not RENAMED_SETTINGS.keys() & known
    assert set(RENAMED_SETTINGS.values()) <= known
    changelog = (Path(__file__).resolve().parents[1] / 'CHANGELOG.rst').read_text()
    assert all(f'``{old}`` is' in changelog.replace('\n  ', ' ') for old in RENAMED_SETTINGS)
