# SPDX-License-Identifier: Apache-2.0
"""What a run of the small model has to reach, given what was measured of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penguin_ros.evaluation.score import CAPTION, ScoredAnswer, ScoreRun, Suite
from penguin_ros.evaluation.score_report import report
from penguin_ros.evaluation.simulation_model import Measured, measured
from penguin_ros.pipeline_status import ModelDescription


def test_what_was_measured_is_read_and_what_is_unknown_is_expected_whole(tmp_path: Path) -> None:
    assert measured(None) == measured(tmp_path) == Measured(3, 1.0, 1.0, 1.0)
    suite, facts = (
        Suite(1, 0, 2, 4, 168, 112, False),
        ModelDescription('m', '', '', '', 'cpu', 'float32', 1, 1, 1, 1, 1, 1, 1),
    )
    records = [
        ScoredAnswer(
            0, CAPTION, '', 'There is nothing.', 'There is nothing.', right=3, claimed=4, wanted=6
        ),
        ScoredAnswer(
            0, 'count', 'How many things are there?', 'One.', 'One.', right=1, claimed=1, wanted=1
        ),
        ScoredAnswer(0, 'count', 'Count the things.', 'One.', 'Two.', right=0, claimed=1, wanted=1),
    ]
    (tmp_path / 'score.json').write_text(
        json.dumps(report(suite, ScoreRun(tuple(records), facts), None, 1.0))
    )
    assert measured(tmp_path) == Measured(
        level=2, caption_precision=0.75, caption_recall=0.5, answers=0.5
    )


@pytest.mark.parametrize(
    ('share', 'least'), [(1.0, 0.9), (0.96, 0.9), (0.95, 0.9), (0.9, 0.85), (0.5, 0.45)]
)
def test_a_run_may_fall_a_little_behind_but_not_below_what_is_wanted_of_a_good_model(
    share: float, least: float
) -> None:
    assert Measured(answers=share).least('answers') == pytest.approx(least)
