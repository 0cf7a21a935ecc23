# SPDX-License-Identifier: Apache-2.0
"""The checks of the machine that `penguin doctor` makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.doctor import machine_checks
from penguin_ros.doctor.finding import Finding, State

PROFILE = (
    '<profiles><transport_descriptor><segment_size>{}</segment_size></transport_descriptor>'
    '</profiles>'
)


def finding(topic: str, findings: object) -> Finding:
    return next(item for item in findings if item.topic == topic)  # type: ignore[attr-defined]


def test_a_small_segment_is_a_fault_and_a_large_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / 'profile.xml'
    for variable in machine_checks.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(machine_checks.VARIABLES[0], str(profile))
    states = []
    for size in (524288, 67108864):
        profile.write_text(PROFILE.format(size))
        states.append(finding('fastdds profile', machine_checks.transport()).state)
    assert states == [State.FAULT, State.OK]


def test_a_profile_that_does_not_exist_is_a_fault_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(machine_checks.VARIABLES[0], '/nowhere/profile.xml')
    found = finding('fastdds profile', machine_checks.transport())
    assert found.state is State.FAULT and 'unset' in found.fix


def test_without_messages_the_build_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = machine_checks.importlib.util.find_spec
    monkeypatch.setattr(
        machine_checks.importlib.util,
        'find_spec',
        lambda name: None if name == 'penguin_msgs' else find(name),
    )
    if find('rclpy') is None:
        pytest.skip('rclpy is not installed')
    found = finding('penguin_msgs', machine_checks.ros())
    assert found.state is State.FAULT and 'colcon build' in found.fix


def test_an_unreadable_checkpoint_is_a_fault(tmp_path: Path) -> None:
    assert finding('checkpoint', machine_checks.checkpoint(str(tmp_path))).state is State.FAULT


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Hides modules as if they were not installed."""
    find = machine_checks.importlib.util.find_spec
    monkeypatch.setattr(
        machine_checks.importlib.util,
        'find_spec',
        lambda name: None if name in modules else find(name),
    )


def test_onnxruntime_alone_is_a_sufficient_backend_and_none_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('onnxruntime')
    without(monkeypatch, 'torch', 'tensorrt')
    found = list(machine_checks.backends())
    assert State.FAULT not in [item.state for item in found]
    assert 'CPU' in finding('bundles', found).text
    without(monkeypatch, 'torch', 'tensorrt', 'onnxruntime')
    assert finding('backend', machine_checks.backends()).fix == 'pip install onnxruntime'


def test_an_onnxruntime_that_is_too_old_is_a_fault_when_nothing_else_can_run_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    monkeypatch.setattr(onnxruntime, '__version__', '1.22.1')
    without(monkeypatch, 'torch', 'tensorrt')
    found = finding('bundles', machine_checks.backends())
    assert found.state is State.FAULT and re.search(
        'pip install --upgrade "?onnxruntime', found.fix
    )
    monkeypatch.setattr(onnxruntime, '__version__', '1.23.2')
    assert finding('bundles', machine_checks.backends()).state is State.NOTE


def test_a_bundle_is_checked_to_the_last_byte(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip('onnx')
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.export.build import BuildOrder, build_bundle

    folder = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder())
    assert (
        'onnxruntime, float32, 4096 positions'
        in finding('bundle', machine_checks.bundle(str(folder))).text
    )
    path = folder / 'decoder.onnx.data'
    path.write_bytes(path.read_bytes()[:-1] + b'?')
    found = finding('bundle', machine_checks.bundle(str(folder)))
    assert (
        found.state is State.FAULT
        and 'decoder.onnx.data was changed' in found.text
        and 'penguin build' in found.fix
    )


def test_report_as_json_and_exit_code_follow_the_findings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = main.main(['doctor', '--seconds', '0', '--json', '--checkpoint', str(tmp_path)])
    states = {item['topic']: item['state'] for item in json.loads(capsys.readouterr().out)}
    assert states['numpy'] == 'ok' and states['checkpoint'] == 'fault'
    assert code == exit_codes.FAILED
