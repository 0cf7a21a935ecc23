# SPDX-License-Identifier: Apache-2.0
"""What a node says when ROS 2 or the messages are missing, in processes whose path lacks them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.graph import REPOSITORY

CHECK = """
from penguin_ros.ros.process.requirements import require_messages
require_messages()
print("all there")
"""
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, '-c', code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_nothing_is_said_when_all_is_there():
    result = run(CHECK)
    assert (result.returncode, result.stdout, result.stderr) == (0, 'all there\n', '')


@pytest.mark.parametrize(
    ('package', 'text', 'command'),
    [
        ('penguin_msgs', 'penguin_msgs is not built', 'colcon build'),
        ('rclpy', 'ROS 2 is not found', 'source'),
    ],
)
def test_a_missing_package_is_named_with_the_command(package, text, command):
    result = run(HIDE.format(name=package) + CHECK)
    assert result.returncode == 2 and not result.stdout
    assert (
        result.stderr.startswith(text)
        and command in result.stderr
        and 'Traceback' not in result.stderr
    )


@pytest.mark.parametrize('node', ['node', 'camera_node', 'sim_camera'])
def test_each_node_says_what_is_missing_since_it_imports_rclpy_late(node):
    result = run(f'{HIDE.format(name="rclpy")}from penguin_ros.ros.{node}.main import main; main()')
    assert result.returncode == 2 and result.stderr.startswith('ROS 2 is not found'), result.stderr


def test_the_source_folder_of_the_messages_does_not_pass_for_built_ones():
    """From the root of the checkout, `import penguin_msgs` finds the source folder."""
    path = os.pathsep.join(
        part
        for part in os.environ.get('PYTHONPATH', '').split(os.pathsep)
        if not os.path.isdir(os.path.join(part, 'penguin_msgs', 'msg'))
    )
    result = run(CHECK, PYTHONPATH=path)
    assert result.returncode == 2 and result.stderr.startswith('penguin_msgs is not built')


@pytest.mark.parametrize('node', ['node', 'camera_node', 'sim_camera'])
def test_each_node_names_a_library_that_is_missing(node):
    result = run(f'{HIDE.format(name="cv2")}from penguin_ros.ros.{node}.main import main; main()')
    assert result.returncode == 2 and 'Traceback' not in result.stderr, result.stderr
    assert 'the library cv2 is missing' in result.stderr and 'Type: ' in result.stderr
