# SPDX-License-Identifier: Apache-2.0
"""Command-line options that are settings."""

from __future__ import annotations

import argparse

import pytest

from penguin_ros.cli.setting_options import MODEL_OPTIONS, add_setting_options, config_from
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError


def parse(*words: str) -> PenguinConfig:
    parser = argparse.ArgumentParser()
    add_setting_options(parser, {**MODEL_OPTIONS, '--fps': 'clip.fps'})
    return config_from(parser.parse_args(words))


def test_options_left_out_keep_the_defaults() -> None:
    assert parse() == PenguinConfig()


def test_options_and_assignments_reach_their_settings() -> None:
    config = parse(
        '--fps',
        '4',
        '--checkpoint',
        'here',
        '--set',
        'visual.policy=fixed',
        '--set',
        'caption.enabled=false',
        '--set',
        'clip.max_frames=3',
    )
    assert (config.clip.fps, config.model.checkpoint) == (4.0, 'here')
    assert (config.visual.policy, config.caption.enabled, config.clip.max_frames) == (
        'fixed',
        False,
        3,
    )


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        (('--set', 'visual.polcy=fixed'), 'visual.policy'),
        (('--set', 'clip.fps=fast'), 'float'),
        (('--set', 'clip.fps'), 'NAME=VALUE'),
        (('--fps', '-3'), 'clip.fps'),
        (('--set', 'caption.enabled=perhaps'), 'bool'),
    ],
)
def test_nonsense_is_refused_by_name(words: tuple[str, ...], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        parse(*words)
