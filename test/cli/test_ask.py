# SPDX-License-Identifier: Apache-2.0
"""The streamed text of `penguin ask`."""

from __future__ import annotations

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.console import GrowingText


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


def test_empty_question_and_missing_picture_are_refused_before_any_node_is_sought(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip('penguin_msgs')
    assert main.main(['ask', '  ']) == exit_codes.UNUSABLE
    assert 'empty' in capsys.readouterr().err
    assert main.main(['ask', 'what?', '--image', '/nowhere/a.jpg']) == exit_codes.UNUSABLE
    assert '/nowhere/a.jpg' in capsys.readouterr().err
