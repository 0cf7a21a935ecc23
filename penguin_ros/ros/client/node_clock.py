# SPDX-License-Identifier: Apache-2.0
"""What time it is for a running node, whose clock may be simulated."""

from __future__ import annotations

from typing import Any

from penguin_ros.frame import to_nanoseconds
from penguin_ros.ros.client.session import Session

STATUS_TIMEOUT_S = 3.0


def node_time_ns(session: Session, node_name: str) -> int:
    """Returns the time of the node's clock, read from its status; where none comes, our own clock
    serves.
    """
    from penguin_msgs.msg import Status

    stamps: list[Any] = []
    node = session.node
    subscription = session.do(
        lambda: node.create_subscription(
            Status, f'{node_name}/status', lambda message: stamps.append(message.header.stamp), 1
        )
    )
    try:
        session.spin_until(lambda: bool(stamps), STATUS_TIMEOUT_S)
    finally:
        session.do(lambda: node.destroy_subscription(subscription))
    return to_nanoseconds(stamps[-1]) if stamps else int(node.get_clock().now().nanoseconds)
