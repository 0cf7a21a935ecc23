# SPDX-License-Identifier: Apache-2.0
"""The doctor runs the first three steps of the board's bench on a Jetson, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.boards import write
from support.planted_boards import board as planted_board
from support.planted_boards import program

from penguin_ros.board.sizes import SMALL
from penguin_ros.doctor.board_checks import board
from penguin_ros.doctor.finding import State


def test_a_machine_that_is_no_jetson_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(tmp_path))
    assert list(board(('false',))) == []


def test_a_jetson_is_told_of_its_memory_its_clocks_and_its_power_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = planted_board(tmp_path / 'root')
    write(root, 'var/lib/nvpmodel/status', 'pmode:0001')
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    found = {each.topic: each for each in board(program(tmp_path), SMALL)}
    assert found['board'].state is State.OK and 'Orin Nano' in found['board'].text
    assert 'penguin bench board' in found['board'].fix
    assert found['power mode'].state is State.NOTE
    assert found['page cache'].state is State.OK and 'GB/s' in found['bandwidth'].text
    assert 'tensorrt' not in found


def test_calls_of_cuda_that_fail_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(planted_board(tmp_path / 'root')))
    found = [each for each in board(program(tmp_path, ends='cuda'), SMALL) if each.topic == 'cuda']
    assert found[0].state is State.FAULT and 'killed' in found[0].text
