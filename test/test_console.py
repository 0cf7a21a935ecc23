# SPDX-License-Identifier: Apache-2.0
"""What people and scripts see of a command: texts that grow, and JSON in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penguin_ros.console import GrowingText, clock, require_folder, write_json
from penguin_ros.errors import PenguinError


def test_each_step_prints_only_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    text = GrowingText()
    for so_far in ('A', 'A bear', 'A bear sleeps'):
        text.show(so_far)
    text.finish('A bear sleeps.')
    assert capsys.readouterr().out == 'A bear sleeps.\n'


def test_a_late_step_prints_nothing_again(capsys: pytest.CaptureFixture[str]) -> None:
    text = GrowingText()
    text.show('A bear')
    text.show('A')
    text.finish('A bear')
    assert capsys.readouterr().out == 'A bear\n'


def test_times_are_minutes_seconds_and_tenths() -> None:
    assert [clock(seconds) for seconds in (0.0, 59.96, 61.25)] == ['00:00.0', '01:00.0', '01:01.2']


def test_json_is_written_and_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / 'record.json', {'a': 'ä'})
    assert json.loads((tmp_path / 'record.json').read_text(encoding='utf-8')) == {'a': 'ä'}
    with pytest.raises(PenguinError, match='cannot be written'):
        write_json(tmp_path, {})
    with pytest.raises(PenguinError, match='there is no folder'):
        require_folder(tmp_path / 'nowhere' / 'record.json')
