# SPDX-License-Identifier: Apache-2.0
"""A running node whose rules are watched: a camera, a model that says yes to what holds, events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Duration
from penguin_msgs.msg import Event, Rule, RuleStates
from penguin_msgs.srv import ListRules, RemoveRule, SetRule, TestRule
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from support.graph import Graph, SyntheticCamera
from support.live_node import LiveNode, scripted_node, with_frames
from support.watching_node import VARIABLE

from penguin_ros.ros.conversions.times import time_message
from penguin_ros.rules.event import EventKind, State

FAST = {
    'clip.fps': 10.0,
    'clip.seconds': 1.0,
    'clip.max_frames': 4,
    'rule.period': 0.2,
    'rule.calibrated': False,
    'rule.still_period': 1000.0,
    'caption.enabled': False,
    'watch.stale_after': 1.0,
}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TurnedClock:
    """A simulation that publishes /clock and a frame ten times a second; `now_ns` may be turned."""

    def __init__(self, node: LiveNode) -> None:
        self.now_ns = 5000 * 10**9
        self._clock = node.graph.publisher(Clock, '/clock', 10)
        self._camera = SyntheticCamera(node.graph, '/camera/image')
        node.graph.node.create_timer(0.1, self._tick)

    def _tick(self) -> None:
        self.now_ns += 10**8
        self._clock.publish(Clock(clock=time_message(self.now_ns)))
        self._camera.publish(self.now_ns)


class LiveRules:
    """`events` and `states` grow while the graph spins; rules are kept in `file`. `film` starts a
    camera.
    """

    def __init__(
        self,
        graph: Graph,
        checkpoint: Path,
        folder: Path,
        film: Callable[[LiveNode], Any] = with_frames,
        **values: Any,
    ) -> None:
        self.graph = graph
        self.file = folder / 'rules.yaml'
        self._holding = folder / 'holding'
        self.hold()
        self.events: list[Any] = graph.collect(Event, '/penguin/event')
        self.states: list[Any] = graph.collect(RuleStates, '/penguin/rule_states', LATCHED)
        self._checkpoint = checkpoint
        self._parameters = {
            **FAST,
            'rule.file': str(self.file),
            **{name.replace('__', '.'): value for name, value in values.items()},
        }
        self.start()
        self.camera = film(self.node)

    def start(self) -> None:
        """Starts the node, once more where it has ended."""
        self.node: LiveNode = scripted_node(
            self.graph,
            self._checkpoint,
            self._parameters,
            module='support.watching_node',
            environment={VARIABLE: str(self._holding)},
        )
        self.node.wait_until('active')

    def hold(self, *conditions: str) -> None:
        """From now on these conditions hold, and no others."""
        new = self._holding.with_suffix('.new')
        new.write_text(''.join(f'{each}\n' for each in conditions))
        new.replace(self._holding)

    # --- services ---------------------------------------------------------------------------------

    def set(self, name: str = 'dog', condition: str = 'Is there a dog?', **fields: Any) -> Any:
        rule = Rule(id=name, condition=condition, **fields)
        return self.call(SetRule, 'set_rule', SetRule.Request(rule=rule))

    def remove(self, name: str = 'dog') -> Any:
        return self.call(RemoveRule, 'remove_rule', RemoveRule.Request(id=name))

    def list(self) -> Any:
        return self.call(ListRules, 'list_rules', ListRules.Request())

    def test(self, rule: Rule, **fields: Any) -> Any:
        return self.call(TestRule, 'test_rule', TestRule.Request(rule=rule, **fields))

    def call(self, kind: Any, name: str, request: Any) -> Any:
        return self.graph.call(self.node._client(kind, name), request)

    # --- what is published ------------------------------------------------------------------------

    def state(self, rule: str = 'dog', camera: str = 'camera') -> Any:
        """The newest state; None before there is one."""
        states = self.states[-1].states if self.states else []
        return next((each for each in states if (each.rule, each.camera) == (rule, camera)), None)

    def wait_for_state(self, state: State, rule: str = 'dog', reason: str = '') -> Any:
        """Waits until the state is this one, with that in its reason."""

        def is_there() -> bool:
            found = self.state(rule)
            return found is not None and found.state == state and reason in found.reason

        self.graph.wait_for(is_there, 20, f'{rule} {state.name} {reason}, is {self.state(rule)}')
        return self.state(rule)

    def wait_for_event(self, kind: EventKind, rule: str = 'dog', after: int = 0) -> Any:
        """Waits for an event of that kind, not among the first `after` ones."""
        return self.graph.wait_for(
            lambda: next(
                (each for each in self.events[after:] if (each.kind, each.rule) == (kind, rule)),
                None,
            ),
            20,
            f'{kind.name} of {rule} among {[(each.kind, each.rule) for each in self.events]}',
        )

    def evaluations(self, rule: str = 'dog') -> int:
        found = self.state(rule)
        return 0 if found is None else int(found.evaluations)


def seconds(value: float) -> Duration:
    return Duration(sec=int(value), nanosec=round(value % 1 * 1e9))
