# SPDX-License-Identifier: Apache-2.0
"""The plan of memory is made before engines are loaded; slots follow the board."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from support.boards import memory, orin_nano
from support.fake_gpu.bundles import CONFIG, OPTIONS
from support.fake_gpu.installed import Machine, use

from penguin_ros.backends.base.board_room import slots_of
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
from penguin_ros.backends.tensorrt.engine_memory import bundle_plan, check_plan
from penguin_ros.board_memory.board_classes import CLASSES, BoardClass
from penguin_ros.board_memory.memory_plan import Room
from penguin_ros.errors import OutOfMemory
from penguin_ros.export.tensorrt.build import build_engines


@pytest.fixture
def board(machine: Machine, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a board with engines for it."""
    root = memory(orin_nano(tmp_path), 16_000_000, 15_000_000)
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    use(machine)
    build_engines(bundle, OPTIONS)
    return root


def test_the_plan_stands_in_the_log_with_what_the_engines_need(
    board: Path, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backend = TensorrtBackend(open_bundle(bundle), CONFIG)
    backend.open()
    backend.close()
    plan = next(text for text in caplog.messages if text.startswith('memory of'))
    for words in ('decoder', 'KV slots', '3 of 1040 positions', 'as the engines say', 'to spare'):
        assert words in plan


def test_too_little_memory_is_refused_before_anything_is_loaded(
    board: Path, bundle: Path, machine: Machine
) -> None:
    memory(board, 16_000_000, 1_500_000)
    loaded, used = TensorrtBackend(open_bundle(bundle), CONFIG), machine.gpu.used_bytes
    refused = machine.gpu.refused
    with pytest.raises(OutOfMemory, match=r'GB are needed .* 1.54 GB are available.*memory_check'):
        loaded.open()
    assert (machine.gpu.used_bytes, machine.gpu.refused) == (used, refused)
    tried = TensorrtBackend(open_bundle(bundle), replace(CONFIG, memory_check=False))
    tried.open()
    tried.close()


def test_settings_that_would_fit_are_named(board: Path, bundle: Path) -> None:
    greedy = replace(CONFIG, kv_slots=64, encoder_cache_bytes=0)
    opened = open_bundle(bundle)
    room = Room(16 * 10**9, 0, True)
    engines = read_engine_manifest(bundle)
    assert engines is not None
    less = bundle_plan(opened, engines, replace(greedy, kv_slots=5), room).needed
    more = bundle_plan(opened, engines, greedy, room).needed
    assert less < more
    with pytest.raises(OutOfMemory, match='This would fit: model.kv_slots 5'):
        check_plan(opened, engines, greedy, replace(room, available=less))


@pytest.mark.parametrize('board_class', CLASSES, ids=lambda board: str(board.gigabytes))
def test_slots_follow_the_board_unless_they_are_set(board_class: BoardClass) -> None:
    room = Room(board_class.total_bytes, board_class.available_bytes, True)
    auto = replace(CONFIG, kv_slots=0, kv_bytes=0)
    assert slots_of(auto, room, 10**9) == board_class.sizes.slots
    assert slots_of(replace(auto, kv_slots=7), room, 1000) == 7
    assert slots_of(replace(auto, kv_bytes=3 * 10**9), room, 10**9) <= 3


def test_a_gpu_with_memory_of_its_own_has_the_usual_slots() -> None:
    auto = replace(CONFIG, kv_slots=0, kv_bytes=0)
    assert slots_of(auto, Room(2**35, 2**35, False), 1000) == 4
    assert slots_of(auto, Room(2**35, 2**35, False), 10**9) == 2
