# SPDX-License-Identifier: Apache-2.0
"""What `penguin ask` refuses."""

from __future__ import annotations

import pytest

from penguin_ros.cli import exit_codes, main


def test_empty_question_and_missing_picture_are_refused_before_any_node_is_sought(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip('penguin_msgs')
    assert main.main(['ask', '  ']) == exit_codes.UNUSABLE
    assert 'empty' in capsys.readouterr().err
    assert main.main(['ask', 'what?', '--image', '/nowhere/a.jpg']) == exit_codes.UNUSABLE
    assert '/nowhere/a.jpg' in capsys.readouterr().err
