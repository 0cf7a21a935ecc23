# SPDX-License-Identifier: Apache-2.0
"""Steps run apart: whatever becomes of one is a result, and the results are complete after each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.planted_boards import program

from penguin_ros.board.report import record
from penguin_ros.board.result import DONE, FAILED, SKIPPED, Results, StepResult
from penguin_ros.board.runner import BoardRequest, run_steps
from penguin_ros.board.sizes import SMALL
from penguin_ros.board.steps import STEPS


def request(folder: Path, *steps: str, **planted: object) -> BoardRequest:
    return BoardRequest('', folder, SMALL, steps, program(folder, **planted))


def test_a_killed_step_is_a_result_and_what_needs_it_is_skipped_with_the_reason(
    tmp_path: Path,
) -> None:
    results = run_steps(request(tmp_path, 'identity', 'cuda', 'memory', 'tensorrt', ends='cuda'))
    assert results['cuda'].state == FAILED and 'killed (signal 9)' in results['cuda'].why
    assert 'isolate multi-user.target' in results['cuda'].fix
    assert results['identity'].state == DONE
    for name in ('memory', 'tensorrt'):
        assert (results[name].state, results[name].why) == (SKIPPED, 'cuda failed')


def test_a_step_that_hangs_is_ended_at_its_limit(tmp_path: Path) -> None:
    from dataclasses import replace

    asked = replace(request(tmp_path, 'cuda', 'memory', hangs='cuda'), limit_factor=0.05)
    results = run_steps(asked)
    assert results['cuda'].state == FAILED
    assert results['cuda'].why == 'it took more than 3 s and was ended'
    assert results['memory'].state == SKIPPED


def test_after_every_step_there_is_a_complete_record(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def save(results: Results) -> None:
        text = json.dumps(record(results), allow_nan=False)
        seen.append([step['name'] for step in json.loads(text)['steps']])

    run_steps(request(tmp_path, 'identity', 'cuda', 'tensorrt'), save)
    assert seen == [['identity'], ['identity', 'cuda'], ['identity', 'cuda', 'tensorrt']]


def test_what_a_step_knew_before_it_ended_is_kept(tmp_path: Path) -> None:
    script = tmp_path / 'step.py'
    script.write_text(
        'import json, os, sys\n'
        'open(sys.argv[2], "w").write(json.dumps({"facts": {"half": 1}}))\n'
        'print("last words"); sys.stdout.flush(); os.abort()\n'
    )
    asked = BoardRequest('', tmp_path, SMALL, ('cuda',), (sys.executable, str(script)))
    result = run_steps(asked)['cuda']
    assert result.facts == {'half': 1}
    assert 'signal 6 ended it' in result.why and 'last words' in result.why


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    known = {'identity': StepResult('identity', DONE, facts={'model': 'known'})}
    results = run_steps(request(tmp_path, 'identity', 'cuda', ends='identity'), known=known)
    assert results['identity'].facts == {'model': 'known'} and results['cuda'].state == DONE


def test_a_step_takes_nothing_that_comes_after_it() -> None:
    names = [step.name for step in STEPS]
    for index, step in enumerate(STEPS):
        assert set(step.needs) <= set(names[:index])


@pytest.mark.parametrize('step', STEPS, ids=lambda step: step.name)
def test_every_step_is_a_file_of_its_own(step: object) -> None:
    import importlib.util

    assert importlib.util.find_spec(step.module) is not None  # type: ignore[attr-defined]
