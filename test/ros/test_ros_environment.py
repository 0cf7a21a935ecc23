# SPDX-License-Identifier: Apache-2.0
"""What tests with ROS run under: messages as strict as those of Humble, nothing on the network."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.ros_environment import local_discovery

pytest.importorskip('std_msgs.msg', reason='no ROS 2 here')

from std_msgs.msg import UInt8

FILL = 'from std_msgs.msg import UInt8; UInt8(data=256)'


def test_messages_check_their_fields_in_tests() -> None:
    with pytest.raises(AssertionError, match='data'):
        UInt8(data=256)


def test_and_in_the_processes_that_tests_start() -> None:
    done = subprocess.run(
        [sys.executable, '-c', FILL], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and 'AssertionError' in done.stderr


@pytest.mark.parametrize('distribution', ['jazzy', 'kilted', 'lyrical', 'rolling', ''])
def test_nodes_stay_on_this_machine(distribution: str) -> None:
    assert local_discovery(distribution) == {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


def test_nodes_of_humble_stay_there_by_the_variable_that_it_knows() -> None:
    assert local_discovery('humble') == {'ROS_LOCALHOST_ONLY': '1'}
