# SPDX-License-Identifier: Apache-2.0
"""A board is known by its files: model, Jetson Linux, power mode, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.boards import orin_nano, write

from penguin_ros.board_facts import (
    BoardFacts,
    MemoryFacts,
    PowerMode,
    board_facts,
    memory_facts,
)


def test_a_jetson_tells_its_model_release_power_mode_and_memory(tmp_path: Path) -> None:
    found = board_facts(orin_nano(tmp_path))
    assert found.model == 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super'
    assert found.release == '36.4.7' and found.jetson is not None
    assert str(found.power_mode) == '25W' and found.power_mode == PowerMode(1, '25W')
    assert [str(mode) for mode in found.power_modes] == ['15W', '25W', 'MAXN_SUPER']
    assert found.memory.total == 7_802_000 * 1024 and found.memory.cma_free == 200_000 * 1024
    assert found.memory.available == 7_100_000 * 1024


def test_files_that_are_absent_leave_their_facts_empty(tmp_path: Path) -> None:
    assert board_facts(tmp_path) == BoardFacts('', None, MemoryFacts())


@pytest.mark.parametrize(
    ('status', 'text'),
    [('pmode:0002 fmode:quiet\n', 'MAXN_SUPER'), ('pmode:0007\n', 'mode 7'), ('', 'None')],
)
def test_the_power_mode_is_named_where_its_name_is_known(
    tmp_path: Path, status: str, text: str
) -> None:
    write(orin_nano(tmp_path), 'var/lib/nvpmodel/status', status)
    assert str(board_facts(tmp_path).power_mode) == text


def test_another_system_can_be_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(orin_nano(tmp_path)))
    assert board_facts().release == '36.4.7'
    assert memory_facts().swap_total == 0
    monkeypatch.delenv('PENGUIN_SYSTEM_ROOT')
    assert memory_facts().total > 0
