# SPDX-License-Identifier: Apache-2.0
"""Gives ROS 2 a folder for its logs where this user has no home to write to, as in a service or a
container. Without one, rcl refuses to start any node there.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

VARIABLES = ('ROS_LOG_DIR', 'ROS_HOME')
"""Whoever sets one of them has chosen a folder."""


def ensure_log_folder() -> Path | None:
    """Points ROS_LOG_DIR at a temporary folder when neither a variable nor a home that can be
    written to says where logs go, and tells so on stderr; returns that folder, else None.

    It is to be called before `rclpy.init`.
    """
    if any(os.environ.get(variable) for variable in VARIABLES) or _can_write_home():
        return None
    folder = Path(tempfile.gettempdir()) / f'penguin_ros_{os.getuid()}' / 'log'
    folder.mkdir(parents=True, exist_ok=True)
    os.environ['ROS_LOG_DIR'] = str(folder)
    print(f'no home to write logs to (HOME): they go to {folder}', file=sys.stderr)
    return folder


def _can_write_home() -> bool:
    """Whether rcl's default, ~/.ros/log, can be made. rcl reads the variable HOME only."""
    home = os.environ.get('HOME', '')
    return bool(home) and Path(home).is_dir() and os.access(home, os.W_OK)
