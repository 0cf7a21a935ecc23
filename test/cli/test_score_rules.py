# SPDX-License-Identifier: Apache-2.0
"""`penguin score --rules`: who knows the truth finds every event at once, who does not is found
out; words of captions and text questions are counted beside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.config import DEFAULT_CAPTION_PROMPT, PenguinConfig
from penguin_ros.evaluation import rule_score
from penguin_ros.evaluation.rule_scenes import KINDS, Condition, RuleScene, rule_scene
from penguin_ros.evaluation.rule_score import mentions, says
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.rules.rule import Rule
from penguin_ros.scoring.choice_score import ChoiceScore
from penguin_ros.simulation.language import caption
from penguin_ros.simulation.truth import Truth

pytest.importorskip('mujoco', reason='no MuJoCo here')

FACTS = ModelDescription('oracle', '', '', 'none', 'cpu', 'exact', 0, 0, 0, 0, 0, 0, 0)
LOG_05, LOG_95 = -2.9957, -0.0513


class Oracle:
    """Stands in for a model: what it is shown was drawn last, and it knows the truth of that, or
    says yes to everything.
    """

    scene: RuleScene | None = None
    says_yes = False
    asked = 0

    def __init__(self, config: PenguinConfig) -> None:
        self.model = type('Model', (), {'description': FACTS})

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scores(self, frames: Sequence[Frame], rules: Sequence[Rule]) -> list[ChoiceScore]:
        assert [frame.stamp_ns % NANOSECONDS for frame in frames] == [0] * 4
        return [self._score(rule, self._holds(frames, rule)) for rule in rules]

    def text(self, frames: Sequence[Frame], question: str) -> str:
        truth = self._truth(frames)
        if question == DEFAULT_CAPTION_PROMPT:
            return caption(truth)
        condition = self._condition(question)
        holds = self.says_yes or condition.holds(truth)
        return (condition.firing_choice or 'Yes.') if holds else 'No.'

    def _holds(self, frames: Sequence[Frame], rule: Rule) -> bool | None:
        if self.says_yes or rule.id.startswith(('true', 'false')):
            return self.says_yes or rule.id.startswith('true')
        return self._condition(rule.condition).holds(self._truth(frames))

    def _truth(self, frames: Sequence[Frame]) -> Truth:
        assert Oracle.scene is not None
        truth = Oracle.scene.truths[frames[-1].stamp_ns // NANOSECONDS]
        assert truth is not None
        return truth

    def _condition(self, text: str) -> Condition:
        assert Oracle.scene is not None
        return next(one for one in Oracle.scene.conditions if one.text == text)

    @staticmethod
    def _score(rule: Rule, holds: bool | None) -> ChoiceScore:
        Oracle.asked += 1
        yes, no = {True: (LOG_95, LOG_05), False: (LOG_05, LOG_95)}.get(holds, (-0.7, -0.7))  # type: ignore[arg-type]
        if not rule.choices:
            return ChoiceScore(('yes', 'no'), (yes, no))
        others = (no - 3.0,) * (len(rule.choices) - 1)
        masses = list(others)
        masses.insert(rule.choices.index(rule.firing_choice), yes)
        return ChoiceScore(rule.choices, tuple(masses))


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> type[Oracle]:
    def drawn(*arguments: Any) -> RuleScene:
        Oracle.scene = rule_scene(*arguments)
        return Oracle.scene

    monkeypatch.setattr(rule_score, 'RuleEvaluator', Oracle)
    monkeypatch.setattr(rule_score, 'rule_scene', drawn)
    monkeypatch.setattr(Oracle, 'says_yes', False)
    return Oracle


def scored(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, Any]:
    base = ('--checkpoint', 'unused', '--backend', 'torch', '--fps', '1', '--max-frames', '4')
    assert main.main(['score', '--rules', *base, '--json', *words]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_who_knows_the_truth_finds_every_event_one_evaluation_after_it_shows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers = tmp_path / 'tracks.jsonl'
    words = ['--scenes', str(len(KINDS)), '--baseline-scenes', '2', '--static-seconds', '6']
    found = scored(capsys, exit_codes.DONE, *words, '--answers', str(answers))
    rules = found['methods']['rules']
    assert (rules['precision']['value'], rules['recall']['value']) == (1.0, 1.0)
    assert rules['true_events'] >= len(KINDS) and rules['without_event'] == 2 * len(KINDS)
    assert rules['delay']['value'] == 1 and set(rules['delays']) <= {'0', '1'}
    assert {kind: one['recall']['value'] for kind, one in found['kinds'].items()} == dict.fromkeys(
        KINDS, 1.0
    )
    static = found['static']
    assert (static['evaluations'], static['flaps'], static['not_found']) == (6, 0, [])
    assert set(found['methods']) == {
        'rules',
        'rules, same scenes',
        *('caption words', 'caption words, counted', 'text questions', 'text questions, counted'),
    }
    texts = found['methods']['text questions']
    assert texts['rules'] == 6 and texts['recall']['value'] == 1.0
    assert texts['delay']['value'] == 0, 'the first yes counts at once'
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert sum(line['method'] == 'rules' for line in lines) == 3 * len(KINDS)


def test_who_says_yes_to_everything_is_found_out(
    capsys: pytest.CaptureFixture[str], oracle: type[Oracle]
) -> None:
    oracle.says_yes = True
    words = ['--scenes', '2', '--baseline-scenes', '0', '--static-seconds', '4']
    found = scored(capsys, exit_codes.FAILED, *words)
    rules = found['methods']['rules']
    assert rules['found'] == 0 and rules['false'] == rules['rules'] == 6
    assert found['static']['flaps'] > 2 and found['static']['flaps_per_hour'] > 1000
    assert 'seed' in found['static']['first_flap']


@pytest.mark.parametrize('words', [['--scenes', '0'], ['--skip', '-1'], ['--static-seconds', '-1']])
def test_a_suite_that_there_is_not_is_refused(words: list[str]) -> None:
    assert main.main(['score', '--rules', '--checkpoint', 'x', *words]) == exit_codes.UNUSABLE


@pytest.mark.parametrize(
    ('condition', 'firing', 'text', 'expected'),
    [
        ('Is there a red box?', '', 'There is one thing: a red box.', True),
        ('Is there a red box?', '', 'There are two things: a red ball and a blue box.', True),
        ('Does the red box move left?', '', 'I see one thing: a red box moving left.', True),
        ('Did the red box move and stop?', '', 'There is one thing: a red box.', False),
        ('What does the red box do?', 'It left the view.', 'A red box left the view.', True),
        ('What colour is the box?', 'Red.', 'There is one thing: a red box.', True),
        ('Are there three things?', '', 'There are two things.', False),
    ],
)
def test_searching_the_words_of_a_caption_finds_what_they_say_and_more(
    condition: str, firing: str, text: str, expected: bool
) -> None:
    choices = (firing, 'other') if firing else ()
    rule = Rule('a', condition, choices=choices, firing_choice=firing)
    assert mentions(text, rule) is expected


def test_a_text_says_yes_when_the_word_or_the_choice_is_in_it() -> None:
    assert says('Yes.', Rule('a', 'x?')) and says('That is true', Rule('a', 'x?'))
    assert not says('No.', Rule('a', 'x?')) and not says('Yesterday', Rule('a', 'x?'))
    choice = Rule('a', 'x?', choices=('It left the view.', 'b'), firing_choice='It left the view.')
    assert says('it left the view', choice) and not says('Yes.', choice)
