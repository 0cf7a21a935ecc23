# SPDX-License-Identifier: Apache-2.0
"""Says what is missing before a node starts: ROS 2 itself, the built messages, or a library.

The entry points call it first.
"""

from __future__ import annotations

import importlib
import sys

from penguin_ros.errors import LibraryUnusable
from penguin_ros.libraries import libraries_needed

NEEDED = ('numpy', 'cv2', 'PIL')
"""What every node imports besides ROS 2."""

ROS_MISSING = """ROS 2 is not found: {error}
Source your installation (source /opt/ros/<distro>/setup.bash), or type, in the checkout of
penguin_ros:
    ./scripts/setup && source scripts/env.sh"""

MESSAGES_MISSING = """penguin_msgs is not built, or its setup is not sourced: {error}
Type, in the checkout of penguin_ros:
    ./scripts/setup && source scripts/env.sh
or, in a workspace:
    colcon build --base-paths src src/penguin_ros/penguin_msgs && source install/setup.bash"""


def require_ros() -> None:
    """Exits with code 2 and the command to type when rclpy or sensor_msgs cannot be used."""
    if missing := missing_ros():
        _exit(missing)


def require_messages() -> None:
    """Exits with code 2 and the command to type when ROS 2 or penguin_msgs cannot be used."""
    if missing := missing_messages():
        _exit(missing)


def missing_ros() -> str:
    """Returns what to do when rclpy or sensor_msgs cannot be used; '' when they can."""
    try:
        import rclpy  # noqa: F401
        from sensor_msgs.msg import Image  # noqa: F401
    except ImportError as error:
        return ROS_MISSING.format(error=error)
    return ''


def missing_messages() -> str:
    """Returns what to do when ROS 2 or penguin_msgs cannot be used; '' when they can."""
    if missing := missing_ros():
        return missing
    try:
        # The source folder imports as an empty package; only what colcon generated has the message.
        from penguin_msgs.msg import Caption
        from rclpy.type_support import check_is_valid_msg_type

        check_is_valid_msg_type(Caption)  # loads the generated library
    except Exception as error:  # a library that is not found or does not fit shows in many ways
        return MESSAGES_MISSING.format(error=error)
    return ''


def require_libraries() -> None:
    """Exits with code 2 and the command to type when a library that every node imports is missing
    or does not import.
    """
    try:
        with libraries_needed():
            for module in NEEDED:
                importlib.import_module(module)
    except LibraryUnusable as error:
        _exit(f'{error.what}: {error.why}\n{error.fix}')


def _exit(text: str) -> None:
    print(text, file=sys.stderr)
    raise SystemExit(2)
