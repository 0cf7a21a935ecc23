# SPDX-License-Identifier: Apache-2.0
"""What the shell offers behind an option that names a running node, one of its cameras or one of
its rules. argcomplete, with which ros2cli completes, calls an action's `completer`.

Each looks at the graph for a short time; whatever goes wrong, nothing is offered.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penguin_ros.ros.client.session import Session

DISCOVERY_S = 4.0
"""The middleware announces a node again after 3 s when its first words are lost."""
MORE_S = 0.3
"""Others may be found a little later than the first one."""
ASKS_A_MEMORY = ('recall', 'summarise')

Look = Callable[['Session', argparse.Namespace], list[str]]


def add_completers(parser: argparse.ArgumentParser, verb: str) -> None:
    """Lets the options of a verb be completed by what is on the air."""
    looks: dict[str, Look] = {
        'node': _memory_nodes if verb in ASKS_A_MEMORY else _penguin_nodes,
        'camera': _cameras,
    }
    if verb == 'rules':
        looks['id'] = _rules
    for action in _actions(parser):
        if action.dest in looks and not isinstance(action, argparse._StoreTrueAction):
            action.completer = _Completer(looks[action.dest])  # type: ignore[attr-defined]


class _Completer:
    """Called by argcomplete with what was typed so far."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __call__(
        self, prefix: str, parsed_args: argparse.Namespace, **facts: Any
    ) -> Mapping[str, str]:
        """Returns the words that are offered; argcomplete keeps those that begin with `prefix`."""
        try:
            from penguin_ros.ros.client.session import session

            with session('penguin_completion') as looking:
                return dict.fromkeys(self._look(looking, parsed_args), '')
        except Exception:  # a shell that completes has no place for messages
            return {}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        else:
            yield action


def _penguin_nodes(looking: Session, arguments: argparse.Namespace) -> list[str]:
    return _all_found(looking, looking.answering_nodes)


def _memory_nodes(looking: Session, arguments: argparse.Namespace) -> list[str]:
    from penguin_ros.ros.client.memory_client import memory_nodes

    return _all_found(looking, lambda: memory_nodes(looking))


def _all_found(looking: Session, find: Callable[[], list[str]]) -> list[str]:
    looking.spin_until(lambda: bool(find()), DISCOVERY_S)
    looking.spin_until(lambda: False, MORE_S)
    return find()


def _cameras(looking: Session, arguments: argparse.Namespace) -> list[str]:
    from penguin_msgs.msg import Status

    return [camera.name for camera in _latched(looking, arguments, Status, 'status', 'cameras')]


def _rules(looking: Session, arguments: argparse.Namespace) -> list[str]:
    from penguin_msgs.msg import RuleStates

    states = _latched(looking, arguments, RuleStates, 'rule_states', 'states')
    return sorted({state.rule for state in states})


def _latched(
    looking: Session, arguments: argparse.Namespace, kind: type, topic: str, field: str
) -> list[Any]:
    """Returns the list in a latched message of the node that was named, or of the only one."""
    from rclpy.qos import DurabilityPolicy, QoSProfile

    name = looking.find_node(getattr(arguments, 'node', '') or '', DISCOVERY_S)
    found: list[Any] = []
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    looking.node.create_subscription(kind, f'{name}/{topic}', found.append, qos)
    looking.spin_until(lambda: bool(found), DISCOVERY_S)
    return list(getattr(found[-1], field)) if found else []
