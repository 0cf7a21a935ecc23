# SPDX-License-Identifier: Apache-2.0
"""A node's command line: help is printed, and words that are not for ROS are refused by the command
that was meant.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.command_line import (
    NodeCommand,
    checked_command_line,
    ros_argument_error,
)

COMMAND = NodeCommand('eye', 'Looks.', '-p source:=a.mp4', 'eye.md')
MODULES = {
    'penguin_node': 'penguin_ros.ros.node.main',
    'camera_node': 'penguin_ros.ros.camera_node.main',
    'sim_camera': 'penguin_ros.ros.sim_camera.main',
}


@pytest.mark.parametrize(
    'words',
    [
        [],
        ['--ros-args', '-p', 'a:=1'],
        ['--ros-args', '--log-level', 'debug', '--ros-args', '-r', '__node:=x', '--'],
        ['--ros-args', '-p', 'a:=1', '--', '--ros-args', '-p', 'b:=2'],
    ],
)
def test_what_is_for_ros_passes_as_it_is(words: list[str]) -> None:
    assert checked_command_line(COMMAND, ['eye', *words]) == ['eye', *words]


@pytest.mark.parametrize(
    ('words', 'advice'),
    [
        (['-p', 'model.bundle:=DIR'], 'Type: eye --ros-args -p model.bundle:=DIR'),
        (['a:=1', 'b:=x y'], "Type: eye --ros-args -p a:=1 -p 'b:=x y'"),
        (['--params-file', 'my.yaml'], 'Type: eye --ros-args --params-file my.yaml'),
        (['drive.mp4'], 'Type: eye --ros-args -p source:=a.mp4'),
        (['--ros-args', '-p', 'a:=1', '--', 'more'], "'more' cannot be used"),
    ],
)
def test_what_is_not_for_ros_is_refused_with_the_line_to_type(
    words: list[str], advice: str
) -> None:
    with pytest.raises(PenguinError) as error:
        checked_command_line(COMMAND, ['eye', *words])
    assert advice in str(error.value)


@pytest.mark.parametrize('words', [['--help'], ['-h'], ['--ros-args', '--help']])
def test_help_is_printed_and_nothing_starts(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        checked_command_line(COMMAND, ['eye', *words])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert 'usage: eye' in text and 'eye --ros-args -p source:=a.mp4' in text and 'eye.md' in text


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            "failed to initialize rcl: Couldn't parse parameter override rule: '-p foo'. Error: "
            'Expected lexeme type (22) not found, at /project/src/lexer.c:239, at /x/y.c:352',
            "'-p foo' cannot be used: a parameter is given as -p NAME:=VALUE",
        ),
        (
            "failed to initialize rcl: Couldn't parse params file: '--params-file no'. Error: "
            'Error opening YAML file, at /project/src/parser.c:271',
            'no YAML file of parameters',
        ),
        ("['--bogus']", "cannot be used: ['--bogus']. Type: eye --help"),
    ],
)
def test_what_rcl_refuses_is_told_in_words_without_its_source(text: str, words: str) -> None:
    told = str(ros_argument_error(RuntimeError(text), COMMAND))
    assert words in told and '.c:' not in told


@pytest.mark.parametrize('program', MODULES)
def test_every_node_prints_its_help_and_refuses_a_parameter_without_its_flag(program: str) -> None:
    pytest.importorskip('rclpy', reason='no ROS 2 here')

    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, '-m', MODULES[program], *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=60)

    asked = ran('--help')
    assert (asked.returncode, asked.stderr) == (0, '') and f'usage: {program}' in asked.stdout
    stray = ran('-p', 'a:=1')
    assert stray.returncode == 2
    assert f'Type: {program} --ros-args -p a:=1' in stray.stderr
    unparsed = ran('--ros-args', '-p', 'foo')
    assert unparsed.returncode == 2 and "'-p foo' cannot be used" in unparsed.stderr


def test_the_examples_of_the_help_name_parameters_that_exist() -> None:
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    import dataclasses

    from penguin_ros.config import PenguinConfig
    from penguin_ros.ros.camera_node import main as camera_node
    from penguin_ros.ros.camera_node.parameters import CameraParameters
    from penguin_ros.ros.node import main as node
    from penguin_ros.ros.sim_camera import main as sim_camera
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters
    from penguin_ros.settings import settings

    known = {
        node.COMMAND: set(settings(PenguinConfig())),
        camera_node.COMMAND: {item.name for item in dataclasses.fields(CameraParameters)},
        sim_camera.COMMAND: {item.name for item in dataclasses.fields(SimCameraParameters)},
    }
    for command, names in known.items():
        given = command.example.split()[1::2]
        assert given and {word.partition(':=')[0] for word in given} <= names
