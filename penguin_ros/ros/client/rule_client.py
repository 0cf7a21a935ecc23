# SPDX-License-Identifier: Apache-2.0
"""Sets, lists, tests and watches the rules of a running node, through its services and topics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from penguin_ros.errors import DeadlineExceeded, Inactive, PenguinError
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.client.message_dict import duration_seconds, message_dict
from penguin_ros.ros.client.node_clock import node_time_ns
from penguin_ros.ros.client.session import Session

SERVER_TIMEOUT_S = 5.0
EVENTS_DEPTH = 256
KINDS = ('BEGIN', 'STILL', 'END', 'LOST')
STATES = ('inactive', 'pending', 'active', 'healing', 'unknown', 'disabled')


class RuleRefused(PenguinError):
    """The node did not do what was asked about a rule; `code` is its constant of ErrorCode."""

    def __init__(self, what: str, code: int = 0) -> None:
        super().__init__(what)
        self.code = code


class RuleClient:
    """Talks to the rules of one node; used by the thread that spins the session. What the node
    refuses is raised as RuleRefused, with its sentence.
    """

    def __init__(self, session: Session, node_name: str, timeout_s: float = 60.0) -> None:
        self._session = session
        self._node_name = node_name
        self._timeout_s = timeout_s

    def set(self, fields: Mapping[str, Any]) -> Any:
        """Sets a rule of the fields given; returns the response, with the rule as it is now."""
        from penguin_msgs.srv import SetRule

        return self._done(self._call(SetRule, 'set_rule', SetRule.Request(rule=_rule(fields))))

    def remove(self, rule_id: str) -> None:
        """Removes a rule."""
        from penguin_msgs.srv import RemoveRule

        self._done(self._call(RemoveRule, 'remove_rule', RemoveRule.Request(id=rule_id)))

    def list(self) -> Any:
        """Returns the response of `~/list_rules`."""
        from penguin_msgs.srv import ListRules

        return self._call(ListRules, 'list_rules', ListRules.Request())

    def test(self, fields: Mapping[str, Any], camera: str = '', last_seconds: float = 0.0) -> Any:
        """Evaluates a rule once, on the present or on the last seconds; returns the response."""
        from penguin_msgs.srv import TestRule

        from penguin_ros.ros.conversions.times import time_message

        request = TestRule.Request(rule=_rule(fields), camera=camera)
        if last_seconds > 0:
            now_ns = node_time_ns(self._session, self._node_name)
            request.has_interval = True
            request.start = time_message(now_ns - round(last_seconds * NANOSECONDS))
            request.end = time_message(now_ns)
        return self._done(self._call(TestRule, 'test_rule', request))

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        session, name = self._session, f'{self._node_name}/{name}'
        client = session.do(lambda: session.node.create_client(kind, name))
        try:
            if not session.spin_until(client.service_is_ready, SERVER_TIMEOUT_S):
                raise Inactive(f'{name} does not answer', '', 'Type: penguin doctor')
            future = session.do(lambda: client.call_async(request))
            if not session.spin_until(future.done, self._timeout_s):
                why = f'waited {self._timeout_s:g} s'
                raise DeadlineExceeded(f'no response from {name}', why)
            return future.result()
        finally:
            session.do(lambda: session.node.destroy_client(client))

    def _done(self, response: Any) -> Any:
        if not response.success:
            raise RuleRefused(response.message, response.error_code)
        return response


class EventWatcher:
    """Prints the `line` of each event of the node `name`; `count` is how many came."""

    def __init__(self, node: Any, name: str, line: Callable[[Any], str]) -> None:
        from penguin_msgs.msg import Event
        from rclpy.qos import QoSProfile

        self.count = 0
        self._line = line
        node.create_subscription(
            Event, f'{name}/event', self._on_event, QoSProfile(depth=EVENTS_DEPTH)
        )

    def _on_event(self, message: Any) -> None:
        self.count += 1
        print(self._line(message), flush=True)


def json_event(message: Any) -> str:
    """Returns an event as one JSON object on a line; a picture is told by its size in bytes."""
    sizes = [len(picture.data) for picture in message.picture]
    message.picture = []
    fields = message_dict(message) | {'kind': KINDS[message.kind], 'picture': sizes}
    return json.dumps(fields, ensure_ascii=False)


def plain_event(message: Any) -> str:
    """Returns `camera [start - end] BEGIN rule (0.93): condition`."""
    stamps = f'{_seconds(message.start)} – {_seconds(message.end)}'
    probability = message.probabilities[-1] if message.probabilities else message.peak
    reason = f' ({message.reason})' if message.reason else ''
    return (
        f'{message.camera} [{stamps}] {KINDS[message.kind]} {message.rule} ({probability:.2f}): '
        f'{message.condition}{reason}'
    )


def state_line(state: Any) -> str:
    """Returns how a rule is doing on a camera, in words."""
    told = f'{state.camera}: {STATES[state.state]}'
    if state.evaluations:
        told += f', {state.probability:.2f} at {_seconds(state.evaluated)}'
    if state.achieved_period.sec or state.achieved_period.nanosec:
        told += f', every {duration_seconds(state.achieved_period):.2f} s'
    return f'{told} ({state.reason})' if state.reason else told


def _rule(fields: Mapping[str, Any]) -> Any:
    from penguin_msgs.msg import Rule

    from penguin_ros.ros.conversions.times import duration_message

    return Rule(
        **{
            name: duration_message(round(value * NANOSECONDS)) if name in DURATIONS else value
            for name, value in fields.items()
        }
    )


DURATIONS = ('period', 'clip', 'min_duration', 'cooldown')
"""Fields of a rule that are given in seconds."""


def _seconds(time: Any) -> str:
    return f'{to_nanoseconds(time) / NANOSECONDS:.2f}'
