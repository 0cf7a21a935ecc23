# SPDX-License-Identifier: Apache-2.0
"""Waiting for what a rule watches for, as a behaviour."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from penguin_msgs.msg import Event as EventMessage
from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status
from rclpy.qos import QoSProfile

from penguin_ros.errors import InvalidRequest
from penguin_ros.ros.client.results import EVENT_KINDS, Event, event_of

DEPTH = 64


class WaitForEvent(Behaviour):
    """Runs until an event comes that fits: of `rule` and `camera`, '' any, and of one of `kinds`.

    SUCCESS then, FAILURE after `timeout_s`. Events count from when it is entered on; one that was
    under way before is told by its next `still`. On the blackboard, `key` holds the
    penguin_ros.client.Event, None before there is one.
    """

    def __init__(
        self,
        name: str,
        rule: str = '',
        *,
        kinds: Sequence[str] = ('begin', 'still'),
        camera: str = '',
        penguin: str = '/penguin',
        key: str = 'event',
        timeout_s: float = math.inf,
    ) -> None:
        super().__init__(name)
        unknown = set(kinds) - set(EVENT_KINDS)
        if unknown:
            known = ', '.join(EVENT_KINDS)
            raise InvalidRequest(
                f'no event is of kind {sorted(unknown)}', '', f'There are: {known}'
            )
        self._rule = rule
        self._kinds = tuple(kinds)
        self._camera = camera
        self._topic = f'{penguin}/event'
        self._key = key
        self._timeout_s = timeout_s
        self._subscription: Any = None
        self._found: Event | None = None
        self._is_waiting = False
        self.blackboard = self.attach_blackboard_client(name=name)
        self.blackboard.register_key(key=key, access=Access.WRITE)

    def setup(self, **kwargs: Any) -> None:
        """Subscribes to the events on `node`."""
        self._node = kwargs['node']
        self._subscription = self._node.create_subscription(
            EventMessage, self._topic, self._on_event, QoSProfile(depth=DEPTH)
        )

    def initialise(self) -> None:
        """Begins to wait; what came before does not count."""
        self.blackboard.set(self._key, None)
        self._found = None
        self._is_waiting = True
        self._end = time.monotonic() + self._timeout_s
        self.feedback_message = f'waiting for {self._rule or "any rule"}'

    def update(self) -> Status:
        """Looks whether it has come."""
        event = self._found
        if event is None:
            if time.monotonic() < self._end:
                return Status.RUNNING
            self.feedback_message = f'DeadlineExceeded: no event within {self._timeout_s:g} s'
            return Status.FAILURE
        self.blackboard.set(self._key, event)
        self.feedback_message = f'{event.rule} {event.kind} on {event.camera}'
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        """Ends the waiting."""
        self._is_waiting = False

    def shutdown(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _on_event(self, message: EventMessage) -> None:
        if not self._is_waiting or self._found is not None:
            return
        event = event_of(message)
        if self._rule in ('', event.rule) and self._camera in ('', event.camera):
            self._found = event if event.kind in self._kinds else None
