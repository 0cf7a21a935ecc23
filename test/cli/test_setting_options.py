# SPDX-License-Identifier: Apache-2.0
"""Command-line options that are settings."""

from __future__ import annotations

import argparse

import pytest

from penguin_ros.cli.setting_options import (
    MODEL_OPTIONS,
    add_setting_options,
    config_from,
    image_size,
    require_least,
)
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
        (('--set', 'clip.fps=fast'), 'it takes a number'),
        (('--set', 'clip.fps'), 'NAME=VALUE'),
        (('--fps', '-3'), 'clip.fps'),
        (('--set', 'caption.enabled=perhaps'), 'true or false'),
    ],
)
def test_nonsense_is_refused_by_name(words: tuple[str, ...], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        parse(*words)


def test_an_old_name_of_a_setting_works_with_a_warning_that_names_the_current_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = parse('--set', 'model.reuse=false', '--set', 'question.max_image_pixels=5000')
    assert not config.model.prefix_caching
    assert config.buffer.max_image_pixels == 5000
    assert capsys.readouterr().err.splitlines() == [
        'warning: the setting model.reuse is now called model.prefix_caching: rename it',
        'warning: the setting question.max_image_pixels is now called buffer.max_image_pixels: '
        'rename it',
    ]


def test_the_current_name_of_a_setting_wins_over_its_old_one_in_either_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, current = ('--set', 'clip.ahead=off'), ('--set', 'clip.precompute=prefill')
    for words in ((*old, *current), (*current, *old)):
        assert parse(*words).clip.precompute == 'prefill'
        assert 'clip.precompute: it is given too' in capsys.readouterr().err


def test_a_bad_value_under_an_old_name_is_refused_under_the_current_one() -> None:
    with pytest.raises(SettingError, match=r'clip\.precompute = .*off, encode, prefill'):
        parse('--set', 'clip.ahead=maybe')


def test_a_size_is_two_numbers_in_range() -> None:
    assert image_size('640x360', (640, 480)) == (640, 360)
    for text in ('640', '640x', 'x360', '640x360x2', '641x360', '640x481', '27x360', 'wide x high'):
        with pytest.raises(SettingError, match='WIDTHxHEIGHT in pixels, from 28x28 to 640x480'):
            image_size(text, (640, 480))


def test_an_option_below_its_smallest_value_is_named() -> None:
    arguments = argparse.Namespace(rounds=0, max_tokens=2)
    require_least(arguments, {'rounds': 0, 'max_tokens': 2})
    with pytest.raises(SettingError, match='--max-tokens 2: it takes 3 or more'):
        require_least(arguments, {'rounds': 0, 'max_tokens': 3})
