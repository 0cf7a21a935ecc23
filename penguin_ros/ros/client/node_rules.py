# SPDX-License-Identifier: Apache-2.0
"""The rules of a node for the Python client: "tell me when ..."."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from penguin_ros.errors import InvalidRule
from penguin_ros.ros.client.message_dict import message_dict
from penguin_ros.ros.client.results import (
    SEVERITIES,
    Evaluation,
    Event,
    RuleState,
    WatchedRule,
    evaluation_of,
    event_of,
    rule_state_of,
)
from penguin_ros.ros.client.rule_client import RuleClient, RuleRefused
from penguin_ros.ros.client.session import Session
from penguin_ros.ros.client.streams import MessageStream

Response = TypeVar('Response')


class NodeRules:
    """Sets, lists, removes, tests and follows the rules of the node called `name`.

    Errors are those that the node names: InvalidRule, UnknownRule, TooManyRules, ...
    """

    def __init__(self, session: Session, name: str, timeout_s: float) -> None:
        self._session = session
        self._name = name
        self._client = RuleClient(session, name, timeout_s)

    def add(self, id: str, condition: str, **settings: Any) -> WatchedRule:
        """Sets a rule, or replaces that of the same id, and returns it with its defaults.

        `settings` are other fields of penguin_msgs/Rule, durations in seconds; `severity` may be a
        word.
        """
        fields = _checked({'id': id, 'condition': condition, **settings})
        response = _named(lambda: self._client.set(fields))
        return _watched_rule(response.rule, 'service', ())

    def list(self) -> tuple[WatchedRule, ...]:
        """Returns the rules with their states, by id."""
        listed = _named(self._client.list)
        states = tuple(map(rule_state_of, listed.states))
        return tuple(
            _watched_rule(rule, origin, tuple(each for each in states if each.rule == rule.id))
            for rule, origin in zip(listed.rules, listed.origins, strict=True)
        )

    def remove(self, id: str) -> None:
        """Removes a rule for good."""
        _named(lambda: self._client.remove(id))

    def test(
        self, id: str = '', *, camera: str = '', last_seconds: float = 0.0, **settings: Any
    ) -> Evaluation:
        """Evaluates a rule of the node once, or a new one of these settings, a `condition` say."""
        fields = _checked({'id': id, **settings})
        return evaluation_of(_named(lambda: self._client.test(fields, camera, last_seconds)))

    def events(self, *, seconds: float = math.inf) -> MessageStream[Event]:
        """Returns an iterator over events as they come, for so many seconds."""
        from penguin_msgs.msg import Event as EventMessage

        topic = f'{self._name}/event'
        return MessageStream(self._session, EventMessage, topic, event_of, seconds)


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a rule; InvalidRule when one is no field."""
    from penguin_msgs.msg import Rule

    known = Rule.get_fields_and_field_types()
    for name in fields:
        if name not in known:
            raise InvalidRule(f'a rule has no field {name!r}', '', f'There are: {", ".join(known)}')
    severity = fields.get('severity')
    if isinstance(severity, str):
        if severity not in SEVERITIES:
            raise InvalidRule(f'{severity!r} is no severity', '', f'Say {" or ".join(SEVERITIES)}')
        fields['severity'] = SEVERITIES.index(severity)
    return fields


def _named(call: Callable[[], Response]) -> Response:
    """Makes a call; what the node refuses is raised by the name that it has there."""
    from penguin_ros.ros.conversions.error_codes import named_error

    try:
        return call()
    except RuleRefused as refused:
        raise named_error(refused.code, str(refused)) from None
    except (AssertionError, TypeError) as error:  # the message takes no such value
        raise InvalidRule('a field of the rule has a value of another type', str(error)) from None


def _watched_rule(rule: Any, origin: str, states: tuple[RuleState, ...]) -> WatchedRule:
    return WatchedRule(rule.id, rule.condition, origin, message_dict(rule), states)
