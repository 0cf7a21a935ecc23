# SPDX-License-Identifier: Apache-2.0
"""Environment variables of all tests with ROS, and of the processes that they start."""

from __future__ import annotations

import os


def set_ros_environment() -> None:
    """Sets them; to be called before any message module is imported, which reads one of them."""
    # Types and ranges of all fields are checked as messages are filled. Humble always does so.
    os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
    os.environ.update(local_discovery(os.environ.get('ROS_DISTRO', '')))


def local_discovery(distribution: str) -> dict[str, str]:
    """Returns the variables that keep a distribution's nodes from leaving this machine."""
    if distribution == 'humble':
        return {'ROS_LOCALHOST_ONLY': '1'}
    # A transport profile holds beside it: tried with Fast DDS 2.14.
    return {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
