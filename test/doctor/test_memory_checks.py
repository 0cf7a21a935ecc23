# SPDX-License-Identifier: Apache-2.0
"""The doctor tells a Jetson's memory, and whether a bundle for TensorRT fits into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.boards import memory as plant_memory
from support.boards import orin_nano

from penguin_ros.board_facts import board_facts
from penguin_ros.doctor.finding import State
from penguin_ros.doctor.memory_checks import bundle_memory, memory

pytest.importorskip('onnx', reason='onnx is not installed')


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle for TensorRT, on an Orin Nano."""
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.precision import BuildChoice

    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(orin_nano(tmp_path / 'root')))
    order = BuildOrder(BuildChoice('tensorrt', 'float16'), max_length=256)
    return build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', order)


def test_a_jetson_tells_its_memory_and_the_defaults_that_follow(tmp_path: Path) -> None:
    (found,) = memory(board_facts(orin_nano(tmp_path)))
    assert found.state is State.OK
    for words in ('7.27 GB of 7.99 GB', 'no swap', '0.20 GB of contiguous', '8 GB', '2 KV slots'):
        assert words in found.text


def test_another_machine_tells_nothing(tmp_path: Path) -> None:
    assert list(memory(board_facts(tmp_path))) == []


def test_a_bundle_that_fits_shows_its_plan(folder: Path) -> None:
    first, *rest = bundle_memory(str(folder))
    assert first.state is State.OK and 'GB are needed' in first.text
    lines = {finding.topic.strip(): finding.text for finding in rest}
    assert '2 of 256 positions' in lines['KV slots'] and 'to spare' in lines


def test_a_bundle_that_does_not_fit_is_a_fault(folder: Path, tmp_path: Path) -> None:
    plant_memory(tmp_path / 'root', 7_802_000, 1_000_000)
    first, *rest = bundle_memory(str(folder))
    assert first.state is State.FAULT and '1.02 GB are available' in first.text
    assert '--dry-run' in first.fix and rest[-1].topic.strip() == 'lacking'


def test_a_bundle_on_another_machine_has_no_such_plan(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(tmp_path / 'empty'))
    assert list(bundle_memory(str(folder))) == []
