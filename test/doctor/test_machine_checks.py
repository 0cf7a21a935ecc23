# SPDX-License-Identifier: Apache-2.0
"""The checks of the machine that `penguin doctor` makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.doctor import machine_checks
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.installation import Python

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


@pytest.mark.parametrize(
    ('variable', 'state'),
    [('', State.NOTE), ('ROS_DISTRO', State.FAULT), ('AMENT_PREFIX_PATH', State.FAULT)],
)
def test_a_missing_ros_is_a_fault_only_where_one_is_meant_to_be(
    variable: str, state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine_checks.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setattr(machine_checks, 'this_python', lambda: Python('python3'))
    monkeypatch.setattr(machine_checks, 'ROS_ROOT', tmp_path)
    for name in machine_checks.ROS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, 'jazzy')
    assert finding('rclpy', machine_checks.ros()).state is state
    (tmp_path / 'jazzy').mkdir()
    (tmp_path / 'jazzy' / 'setup.bash').touch()
    assert finding('rclpy', machine_checks.ros()).state is State.FAULT


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
