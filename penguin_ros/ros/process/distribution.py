# SPDX-License-Identifier: Apache-2.0
"""Tells the one distribution apart whose rclpy cannot do what all later ones can."""

from __future__ import annotations


def is_humble() -> bool:
    """Returns whether rclpy is older than that of Iron, which among supported ones is Humble's.

    Its subscriptions hand over a message without facts about it. ROS_DISTRO would not tell: it is
    missing where ROS 2 was not installed by its packages.
    """
    from rclpy.subscription import Subscription

    return not hasattr(Subscription, 'CallbackType')
