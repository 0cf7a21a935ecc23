# SPDX-License-Identifier: Apache-2.0
"""Replaying a recording evaluates rules as the node would, and says which events they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from penguin_ros.cli import exit_codes, main
from penguin_ros.evaluation import rule_evaluator
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.rules.rule import Rule
from penguin_ros.scoring.choice_score import ChoiceScore

RULES = """\
rules:
  - id: red
    condition: Is it red?
    cameras: [front]
    period: 1
  - id: red-for-long
    condition: Is it red?
    min_duration: 4
    clip: 1
    period: 2
  - id: shade
    condition: Which colour is it?
    choices: [red, blue]
    firing_choice: blue
    severity: error
  - id: broken
    condition: [
"""
RED, BLUE, BLACK, ODD = (220, 0, 0), (0, 0, 220), (0, 0, 0), (0, 220, 0)
SHOWN = [BLUE] * 4 + [RED] * 8 + [BLACK] * 2 + [RED] * 2 + [ODD] * 2 + [BLUE] * 6


class RedSeer:
    """Stands in for a model: it sees whether the newest frame is red or blue, and nothing else."""

    calls: list[tuple[int, list[float], list[str]]] = []

    def __init__(self, config: object) -> None:
        RedSeer.calls = []

    def __enter__(self) -> RedSeer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scores(self, frames: Sequence[Frame], rules: Sequence[Rule]) -> list[ChoiceScore]:
        stamps = [frame.stamp_ns / NANOSECONDS for frame in frames]
        RedSeer.calls.append((round(stamps[-1]), stamps, [rule.id for rule in rules]))
        red, green, blue = frames[-1].image[0, 0].tolist()
        masses = {220 - red: (-0.02, -4.0), 220 - blue: (-4.0, -0.02)}.get(0, (-5.0, -5.0))
        return [ChoiceScore(rule.choices or ('yes', 'no'), masses) for rule in rules]


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(rule_evaluator, 'RuleEvaluator', RedSeer)
    monkeypatch.setattr(RedSeer, 'calls', [])
    images = [
        PillowImage.fromarray(np.full((28, 42, 3), (*shown[:2], shown[2]), np.uint8))
        for shown in SHOWN
    ]
    for place, image in enumerate(images):  # frames that are equal would be merged
        image.putpixel((41, 27), (place, place, place))
    path = tmp_path / 'shown.png'
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000, loop=0)
    (tmp_path / 'rules.yaml').write_text(RULES)
    base = ['--checkpoint', 'unused', '--backend', 'torch', '--fps', '1']
    return ['rules', 'replay', str(path), '--rules', str(tmp_path / 'rules.yaml'), *base]


def test_a_replay_tells_every_event_as_a_table_and_as_json(
    recording: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*recording, '--json']) == exit_codes.FAILED, 'a rule was left out'
    output = capsys.readouterr()
    found: dict[str, Any] = json.loads(output.out)
    assert 'rules.yaml, line' in output.err and len(found['problems']) == 1
    told = [(one['rule'], one['begin_s'], one['start_s'], one['end_s']) for one in found['events']]
    assert told == [
        ('shade', 1.0, 0.0, 5.0),
        ('red', 5.0, 4.0, 19.0),
        ('red-for-long', 8.0, 4.0, 20.0),
        ('shade', 19.0, 18.0, None),
    ]
    values = {second: value for second, value, _ in found['evaluations']['red']}
    assert values.keys() == set(range(24)) - {12, 13}, 'nothing is asked about the dark'
    assert [second for second, _, other in found['evaluations']['red'] if other > 0.5] == [16, 17]
    assert main.main(recording) == exit_codes.FAILED
    table = capsys.readouterr().out
    assert 'red-for-long' in table and '19.0 s' in table


def test_rules_that_are_due_together_are_read_together_on_clips_of_their_own_length(
    recording: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main.main(recording)
    at_ten = [call for call in RedSeer.calls if call[0] == 10]
    assert at_ten == [
        (10, [7.0, 8.0, 9.0, 10.0], ['red', 'shade']),
        (10, [10.0], ['red-for-long']),
    ]
    assert [call[2] for call in RedSeer.calls if call[0] == 11] == [['red', 'shade']]


def test_only_the_rules_of_a_camera_are_replayed_when_it_is_named(
    recording: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main.main([*recording, '--camera', 'rear', '--json'])
    rules = json.loads(capsys.readouterr().out)['rules']
    assert [rule['id'] for rule in rules] == ['red-for-long', 'shade']


def test_the_picture_shows_a_panel_for_each_rule(recording: list[str], tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='no matplotlib here')
    path = tmp_path / 'replay.svg'
    main.main([*recording, '--picture', str(path)])
    text = path.read_text()
    assert text.count('id="axes_') == 3
    png = tmp_path / 'replay.png'
    main.main([*recording, '--picture', str(png)])
    pixels = np.asarray(PillowImage.open(png).convert('RGB')).reshape(-1, 3).astype(int)
    is_red = (pixels[:, 0] > 200) & (pixels[:, 1] < 200) & (pixels[:, 2] < 200)
    assert is_red.mean() > 0.02, 'the events of severity error are coloured'


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['--picture', 'replay.jpg'], 'Use .png, .svg or .pdf'),
        (['--start', '5', '--end', '4'], 'the end comes after the start'),
        (['--rules', 'nowhere.yaml'], 'there is no file nowhere.yaml'),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_a_model_is_loaded(
    recording: list[str], capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main.main([*recording, *words]) == exit_codes.UNUSABLE
    assert expected in capsys.readouterr().err and RedSeer.calls == []
