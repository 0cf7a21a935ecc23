# SPDX-License-Identifier: Apache-2.0
"""An action client that threads other than the executor's may use.

rclpy sends a request and then notes it. Where the executor takes the response in between, on its
own thread, it belongs to nobody ("Ignoring unexpected goal response"), and whoever asked waits for
ever. Here nothing is taken while a request is sent.
"""

from __future__ import annotations

import threading
from typing import Any

from rclpy.action import ActionClient


class LockedActionClient(ActionClient):
    """rclpy's action client, whose requests are noted before their responses are taken."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._requests = threading.RLock()
        super().__init__(*arguments, **named)

    def send_goal_async(self, *arguments: Any, **named: Any) -> Any:
        """Sends a goal; returns a future of its handle."""
        with self._requests:
            return super().send_goal_async(*arguments, **named)

    def _get_result_async(self, goal_handle: Any) -> Any:  # what a handle of a goal calls
        with self._requests:
            return super()._get_result_async(goal_handle)

    def _cancel_goal_async(self, goal_handle: Any) -> Any:
        with self._requests:
            return super()._cancel_goal_async(goal_handle)

    def take_data(self) -> Any:
        """Takes what has come, for the executor."""
        with self._requests:
            return super().take_data()
