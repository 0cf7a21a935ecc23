# SPDX-License-Identifier: Apache-2.0
"""Each engine is built in a process of its own: what it took is recorded, and how it ended is
told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.boards import memory, orin_nano
from support.fake_gpu.bundles import OPTIONS
from support.tensorrt_build_checks import runs

from penguin_ros.backends.tensorrt.engine_manifest import (
    FOLDER,
    PENDING,
    read_engine_manifest,
)
from penguin_ros.errors import BackendUnavailable, BuildError, NotEnoughSpace
from penguin_ros.export.tensorrt import engine_process
from penguin_ros.export.tensorrt.engine_process import build_engines_apart, check_machine_apart

CHILD = Path(__file__).resolve().parents[2] / 'support' / 'fake_gpu' / 'engine_child.py'


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says what the machines of the children are."""
    file = tmp_path / 'planted.json'
    file.write_text(json.dumps({'version': '10.16.2'}))
    monkeypatch.setattr(engine_process, 'COMMAND', (sys.executable, str(CHILD), str(file)))
    monkeypatch.setattr(engine_process, 'SAMPLE_S', 0.01)
    return file


def test_both_engines_are_built_with_progress_and_what_their_processes_took(
    planted: Path, bundle: Path, machine: object
) -> None:
    seen: list[str] = []
    manifest = build_engines_apart(bundle, OPTIONS, lambda stage, fraction: seen.append(stage))
    assert [engine.part for engine in manifest.engines] == ['decoder', 'vision']
    assert seen[0].startswith('decoder') and seen[-1].startswith('vision')
    for engine in manifest.engines:
        assert engine.record.peak_bytes > 10_000_000
        assert engine.record.least_available_bytes > 10_000_000
        assert engine.record.memory_lines
    assert not (bundle / FOLDER / PENDING).exists()
    assert runs(bundle).size > 0
    assert build_engines_apart(bundle, OPTIONS) == manifest, 'what fits stays'


@pytest.mark.slow
def test_a_process_that_the_kernel_ended_is_told_by_name_and_what_was_built_before_stays(
    planted: Path, bundle: Path, machine: object
) -> None:
    planted.write_text(json.dumps({'version': '10.16.2', 'dies': 'vision'}))
    with pytest.raises(
        BuildError, match=r'engine of the vision was ended by the system: memory ran out.* held up'
    ):
        build_engines_apart(bundle, OPTIONS)
    pending = read_engine_manifest(bundle, PENDING)
    assert pending is not None and [one.part for one in pending.engines] == ['decoder']
    planted.write_text(json.dumps({'version': '10.16.2'}))
    manifest = build_engines_apart(bundle, OPTIONS)
    assert pending.engines[0] in manifest.engines, 'the decoder was not built again'


def test_errors_of_a_process_are_raised_as_what_they_are(
    planted: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = memory(orin_nano(tmp_path / 'root'), 7_802_000, 500_000)
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    with pytest.raises(NotEnoughSpace, match='engine of the decoder needs about'):
        build_engines_apart(bundle, OPTIONS)
    monkeypatch.delenv('PENGUIN_SYSTEM_ROOT')
    check_machine_apart()
    planted.write_text(json.dumps({'version': '8.6.1'}))
    with pytest.raises(BackendUnavailable, match='too old'):
        check_machine_apart()
