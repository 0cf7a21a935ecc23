# SPDX-License-Identifier: Apache-2.0
"""The parameters `qos_overrides.<topic>.<publisher|subscription>.<policy>`, by which users change
the quality of service of a node's topics.

rclpy declares and applies them when a topic is opened, and looks at no others: an override that it
would leave without effect is told or refused here, at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from penguin_ros.errors import SettingError
from penguin_ros.ros.conversions.parameters import overrides_of

PREFIX = 'qos_overrides.'
SUBSCRIPTION = 'subscription'
PUBLISHER = 'publisher'
DEPTH = 'depth'
_POLICIES: dict[str, Any] = {
    'history': HistoryPolicy,
    DEPTH: None,
    'reliability': ReliabilityPolicy,
    'durability': DurabilityPolicy,
}
_NAME = re.compile(
    r'qos_overrides\.(?P<topic>.+)\.(?P<role>publisher|subscription)\.(?P<policy>\w+)'
)
# rclpy opens these for every node.
_OF_RCLPY = ('/clock', '/parameter_events', '/rosout')

Opened = tuple[str, str]
"""A resolved topic, and PUBLISHER or SUBSCRIPTION."""


def overriding_options() -> QoSOverridingOptions:
    """Returns what makes history, depth, reliability and durability of a topic overridable."""
    kinds = QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY
    return QoSOverridingOptions(policy_kinds=(*kinds, QoSPolicyKind.DURABILITY))


def is_overridden(node: Node, opened: Opened, policy: str) -> bool:
    """Returns whether the user has chosen a policy of a topic."""
    return f'{PREFIX}{opened[0]}.{opened[1]}.{policy}' in overrides_of(node)


def check_qos_overrides(node: Node, opened: Set[Opened]) -> list[str]:
    """Returns a sentence for each override that the node was started with and that no topic of
    `opened` takes. SettingError when one of those topics is given what it cannot have.
    """
    warnings = []
    for name, parameter in overrides_of(node).items():
        if not name.startswith(PREFIX):
            continue
        found = _NAME.fullmatch(name)
        if found is None or (found['topic'], found['role']) not in opened:
            if found is None or found['topic'] not in _OF_RCLPY:
                warnings.append(str(_untaken(name, opened)))
        else:
            _check_value(name, found['policy'], parameter.value)
    return warnings


def _check_value(name: str, policy: str, value: object) -> None:
    if policy not in _POLICIES:
        raise SettingError(
            f'{name} = {value!r} cannot be honoured',
            f'the overridable policies of this topic are {", ".join(_POLICIES)}',
            f'Leave {policy} out',
        )
    kind = _POLICIES[policy]
    if kind is None:
        if type(value) is not int or value < 0:
            raise SettingError(f'{name} = {value!r}', 'it takes a whole number of 0 or more')
        return
    choices = [item.name.lower() for item in kind if item.name != 'UNKNOWN']
    if not isinstance(value, str) or value.lower() not in choices:
        raise SettingError(f'{name} = {value!r}', f'it takes one of {", ".join(choices)}')


def _untaken(name: str, opened: Iterable[Opened]) -> SettingError:
    takes = ', '.join(sorted(f'{PREFIX}{topic}.{role}.<policy>' for topic, role in opened))
    return SettingError(
        f'parameter {name} has no effect',
        'this node opens no such topic with a quality of service that can be overridden',
        f'There are: {takes or "none"}',
    )
