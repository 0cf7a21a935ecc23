# SPDX-License-Identifier: Apache-2.0
"""`penguin score`: the counting is right, and it goes through the pipeline with any checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation import score
from penguin_ros.frame import Frame
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.request import Answer
from penguin_ros.simulation.clips import HELD_OUT, SimulatedClip, make_clip

pytest.importorskip('mujoco', reason='no MuJoCo here')

ANY_MODEL = ('--checkpoint', 'unused', '--backend', 'torch')
FACTS = ModelDescription('oracle', '', '', 'none', 'cpu', 'exact', 0, 0, 0, 0, 0, 0, 0)


class Oracle:
    """Stands in for the pipeline: tells the truth about the clip drawn last, and only says Yes
    about grey images.
    """

    clip: SimulatedClip
    wrong: frozenset[str] = frozenset()

    def __init__(self, config: PenguinConfig) -> None:
        self.facts = FACTS
        self._stamps = [0]
        self._is_grey = False

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def caption(self, clip: Sequence[Frame]) -> Answer:
        stamps = [frame.stamp_ns for frame in clip]
        assert sorted({*self._stamps, *stamps}) == [*self._stamps, *stamps], (
            'stamps rise over all clips'
        )
        self._stamps += stamps
        self._is_grey = all((frame.image == score.GREY).all() for frame in clip)
        return Answer(
            '', 'caption', '', 'There is nothing.' if self._is_grey else self.clip.caption
        )

    def ask(self, text: str) -> Answer:
        item = next(item for item in self.clip.questions if item.question == text)
        return Answer(
            '', text, '', 'Yes.' if self._is_grey or item.kind in self.wrong else item.answer
        )


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> type[Oracle]:
    def drawn(*arguments: Any) -> SimulatedClip:
        Oracle.clip = make_clip(*arguments)
        return Oracle.clip

    monkeypatch.setattr(score, 'OfflineRunner', Oracle)
    monkeypatch.setattr(score, 'make_clip', drawn)
    monkeypatch.setattr(Oracle, 'wrong', frozenset())
    return Oracle


def scored(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main.main(['score', *ANY_MODEL, '--json', *arguments]) == exit_codes.DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_who_tells_the_truth_is_wholly_right_and_the_baselines_are_not(
    oracle: type[Oracle], capsys: pytest.CaptureFixture[str]
) -> None:
    found = scored(capsys, '--scenes', '12')
    assert (found['scenes'], found['questions'], found['errors']) == (12, 144, 0)
    assert (
        found['all']['value']
        == found['caption']['precision']['value']
        == found['caption']['recall']['value']
        == 1.0
    )
    assert all(row['value'] == 1.0 and row['low'] < 1.0 for row in found['kinds'].values())
    assert sum(row['of'] for row in found['kinds'].values()) == 144
    assert found['kinds']['yes_no']['without_picture'] == pytest.approx(0.5, abs=0.25)
    assert (
        found['kinds']['colour']['without_picture'] == 0.0
        and found['all']['without_picture'] < 0.15
    )
    assert (
        found['kinds']['unanswerable']['most_frequent_answer'] == 1.0
        and found['all']['most_frequent_answer'] < 0.7
    )
    assert found['abstained_wrongly']['value'] == 0.0


def test_only_held_out_scenes_are_drawn_and_skipping_gives_others(
    oracle: type[Oracle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = []
    for skip in ('0', '2'):
        scored(
            capsys, '--scenes', '2', '--skip', skip, '--no-blind', '--answers', str(tmp_path / skip)
        )
        seeds.append(
            {json.loads(line)['seed'] for line in (tmp_path / skip).read_text().splitlines()}
        )
    assert seeds == [{HELD_OUT[0], HELD_OUT[1]}, {HELD_OUT[2], HELD_OUT[3]}]


def test_a_worse_run_is_compared_question_by_question(
    oracle: type[Oracle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(tmp_path / 'right.jsonl')
    scored(capsys, '--scenes', '6', '--no-blind', '--answers', file)
    assert scored(capsys, '--scenes', '6', '--no-blind', '--against', file)['against'] == {
        'difference': 0.0,
        'low': 0.0,
        'high': 0.0,
        'of': 72,
    }
    monkeypatch.setattr(oracle, 'wrong', frozenset({'shape'}))
    worse = scored(capsys, '--scenes', '6', '--no-blind', '--against', file)
    shapes = worse['kinds']['shape']
    assert (
        shapes['value'] == 0.0
        and worse['kinds']['colour']['value'] == 1.0
        and shapes['without_picture'] is None
    )
    assert (
        worse['against']['difference'] == pytest.approx(-shapes['of'] / 72, abs=1e-3)
        and worse['against']['high'] < 0
    )
    assert (
        main.main(['score', *ANY_MODEL, '--scenes', '7', '--no-blind', '--against', file])
        == exit_codes.UNUSABLE
    )
    assert 'are not in that file' in capsys.readouterr().err


def test_the_table_names_every_kind_and_both_baselines(
    oracle: type[Oracle], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(['score', *ANY_MODEL, '--scenes', '3']) == exit_codes.DONE
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in (
            'oracle',
            'yes_no',
            'unanswerable',
            'all',
            'most frequent answer %',
            'without picture %',
            'captions: precision 100.0 %',
            'abstained where it could be seen: 0.0 %',
        )
    )


@pytest.mark.parametrize(
    ('arguments', 'why'),
    [
        ([], 'no model given'),
        ([*ANY_MODEL, '--scenes', '0'], 'held-out scenes'),
        ([*ANY_MODEL, '--size', 'large'], 'WIDTHxHEIGHT'),
        ([*ANY_MODEL, '--questions', '0'], '--questions 0'),
        ([*ANY_MODEL, '--against', 'nowhere.jsonl'], 'nowhere.jsonl'),
        ([*ANY_MODEL, '--max-frames', '1'], 'clips of one frame'),
    ],
)
def test_unusable_arguments_are_refused_with_their_reason(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(['score', *arguments]) == exit_codes.UNUSABLE
    assert why in capsys.readouterr().err


def test_a_checkpoint_with_random_weights_goes_through_the_pipeline_and_is_mostly_wrong(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('torch', reason='no PyTorch here')
    file = tmp_path / 'answers.jsonl'
    found = scored(
        capsys,
        '--backend',
        'torch',
        '--checkpoint',
        str(tiny_checkpoint),
        '--scenes',
        '2',
        '--questions',
        '4',
        '--set',
        'caption.max_tokens=5',
        '--answers',
        str(file),
    )
    assert (found['backend'], found['precision'], found['questions'], found['errors']) == (
        'torch',
        'float32',
        8,
        0,
    )
    assert found['all']['value'] < 0.5 and found['caption']['outside_the_grammar'] == 2
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 10 and all(record['given'] and record['blind'] for record in records)


def test_questions_that_end_in_an_error_are_counted_as_wrong_and_named(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('torch', reason='no PyTorch here')
    code = main.main(
        [
            'score',
            '--backend',
            'torch',
            '--checkpoint',
            str(tiny_checkpoint),
            '--scenes',
            '1',
            '--questions',
            '2',
            '--no-blind',
            '--set',
            'model.max_length=64',
            '--json',
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert (
        code == exit_codes.FAILED
        and found['errors'] == 3
        and found['first_error'].startswith('PromptTooLong')
    )
    assert found['all']['value'] == 0.0
