# SPDX-License-Identifier: Apache-2.0
"""The rules of the node while a model is loaded: set, kept, evaluated, and published.

Everything runs on the executor's thread; evaluations come over from the worker's thread through the
executor queue.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError, TooManyRules
from penguin_ros.frame import NANOSECONDS
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Interval
from penguin_ros.requests.rule_evaluations import OnEnd
from penguin_ros.requests.rule_runner import Clocks, FoundEvent, RuleRunner
from penguin_ros.ros.node.lifecycle_advice import without_model
from penguin_ros.ros.node.rule_diagnostics import RulesSnapshot
from penguin_ros.ros.node.rule_keeper import RuleKeeper, rule_file
from penguin_ros.ros.node.rule_publisher import RulePublisher
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue
from penguin_ros.rules.event import Event, RuleState
from penguin_ros.rules.rule import Rule, checked_rule
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.rule_store import RuleStore

TICK_S = 0.5
SLOW_DISK_NS = NANOSECONDS
"""Events wait no longer for a disk."""
SERVICE = 'service'
"""Origin of a rule that was set while the node runs."""


@dataclass(frozen=True, eq=False)
class _Held:
    """Events that wait until it is written that they have happened; `since_ns` of the steady
    clock.
    """

    found: list[FoundEvent]
    since_ns: int


class RuleServer:
    """The rules from `configure` to `close`; `rules` is None before and after, `pipeline` is what
    evaluates them.
    """

    def __init__(
        self,
        node: Any,
        executor_queue: ExecutorQueue,
        guard: CallbackGuard,
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.rules: RuleSet | None = None
        self.cameras: tuple[str, ...] = ()
        self.config = PenguinConfig()
        self._unread: tuple[str, ...] = ()
        self.publisher = RulePublisher(node)
        self._node = node
        self._executor_queue = executor_queue
        self._clocks = Clocks(self._now_ns, time.monotonic_ns)
        self._runner: RuleRunner | None = None
        self._keeper: RuleKeeper | None = None
        self._held: deque[_Held] = deque()
        node.create_timer(
            TICK_S,
            guard.wrap(self._tick),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    # --- lifecycle --------------------------------------------------------------------------------

    def configure(self, pipeline: Pipeline, config: PenguinConfig, cameras: Sequence[str]) -> None:
        """Begins with the rules that were kept."""
        self.pipeline, self.config, self.cameras = pipeline, config, tuple(cameras)
        self.rules = RuleSet(config, self.cameras)
        self._runner = RuleRunner(
            self.rules, pipeline.rules, self._clocks, self._executor_queue.post, self._on_update
        )
        path = rule_file(config.rule.file, self._node.get_fully_qualified_name())
        if path is not None:
            store = RuleStore(path)
            self._read(store, self.rules)
            self._keeper = RuleKeeper(store, self._node, self._executor_queue)
        self._publish_states()

    def reconfigure(self, config: PenguinConfig) -> None:
        """Takes changed settings."""
        self.config = config
        if self.rules is not None:
            self.rules.reconfigure(config)

    def start(self, cameras: Sequence[str]) -> None:
        """Evaluates from now on; a camera that is added is one that frames will come from."""
        if self._runner is not None:
            self._runner.start(cameras)

    def stop(self, reason: str) -> None:
        """Evaluates no longer, for that reason."""
        if self._runner is not None:
            self._runner.stop(reason)
            self._publish_states()

    def close(self) -> None:
        """Lets go of the rules and of the pipeline; what is under way is kept for the next time."""
        if self._keeper is not None and self.rules is not None:
            self._keeper.save(self.rules.saved())
            self._keeper.close()
        self.pipeline = self.rules = self._runner = self._keeper = None
        self._unread = ()

    # --- frames and time --------------------------------------------------------------------------

    def note_frame(self, camera: str, stamp_ns: int) -> None:
        """Notes the stamp of a frame that was taken."""
        if self._runner is not None:
            self._runner.note_frame(camera, stamp_ns)

    def clock_jumped(self, reason: str) -> None:
        """Forgets all evaluations after a jump of ROS time."""
        if self._runner is not None:
            self._runner.clock_jumped(reason)

    # --- what clients ask for ---------------------------------------------------------------------

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the files of rules, in sentences."""
        failed = self._keeper.problem if self._keeper is not None else ''
        return (*self._unread, failed) if failed else self._unread

    async def set_rule(self, rule: Rule) -> tuple[Rule, bool]:
        """Sets a rule once it is kept; returns it with its defaults and whether it replaced one.
        RuleError, UnknownCamera, Inactive, SystemRefusal: nothing has changed then.
        """
        self._known().check_rule(rule)
        await self._kept(lambda store: store.keep_rule(rule))
        try:
            now_ns = self._clocks.now_ns()
            checked, is_replaced, events = self._known().set_rule(rule, SERVICE, now_ns)
        except TooManyRules:  # others have come since it was checked
            await self._kept(lambda store: store.drop_rule(rule.id))
            raise
        self._publish(events)
        return checked, is_replaced

    async def remove_rule(self, rule_id: str) -> None:
        """Removes a rule, from its file too. UnknownRule, Inactive, and what stands in the way of
        writing the file: nothing has changed then.
        """
        self._known().rule(rule_id)
        await self._kept(lambda store: store.drop_rule(rule_id))
        self._publish(self._known().remove_rule(rule_id, self._clocks.now_ns()))

    def tested_rule(self, rule: Rule) -> Rule:
        """Returns the rule that is to be evaluated once: the node's own one of that id where it has
        no condition. RuleError, UnknownCamera, Inactive.
        """
        rules = self._known()
        if not rule.condition:
            return rules.rule(rule.id)
        return checked_rule(rule, self.config, self.cameras)

    def test(self, rule: Rule, camera: str, interval: Interval | None, on_end: OnEnd) -> None:
        """Evaluates a rule once; see RuleEvaluations.test."""
        self._known()
        assert self.pipeline is not None
        self.pipeline.rules.test(rule, camera, interval, on_end)

    def states(self) -> tuple[RuleState, ...]:
        """Returns how all rules are doing."""
        return self.rules.states() if self.rules is not None else ()

    def snapshot(self) -> RulesSnapshot:
        """Returns what diagnostics judge."""
        rules = self.rules.rules() if self.rules is not None else ()
        return RulesSnapshot(
            {rule.id: rule for rule in rules},
            self.states(),
            dict(self.publisher.counts),
            self.problems,
        )

    # --- inside -----------------------------------------------------------------------------------

    def _known(self) -> RuleSet:
        if self.rules is None:
            raise without_model(self._node.get_fully_qualified_name(), self._node.lifecycle_state)
        return self.rules

    def _read(self, store: RuleStore, rules: RuleSet) -> None:
        """Sets the rules of a file, whatever of it can be read."""
        try:
            problems, events = store.load_into(rules, self._clocks.now_ns())
        except PenguinError as error:
            problems, events = [str(error)], []
        self._unread = tuple(problems)
        for problem in problems:
            self._node.get_logger().error(problem)
        self.publisher.publish_when_heard(map(FoundEvent, events))

    async def _kept(self, change: Callable[[RuleStore], None]) -> None:
        if self._keeper is not None:
            await self._keeper.write(change)

    def _tick(self) -> None:
        self.publisher.publish_waiting()
        slow = [
            held for held in self._held if self._clocks.steady_ns() - held.since_ns > SLOW_DISK_NS
        ]
        if slow:
            self._release(slow[-1])
        if self._runner is not None:
            self._runner.tick()

    def _publish(self, events: Sequence[Event]) -> None:
        self._on_update([FoundEvent(event) for event in events])

    def _on_update(self, found: list[FoundEvent]) -> None:
        """Publishes events, once a restart could not send them a second time."""
        if found and self._keeper is not None and self.rules is not None:
            held = _Held(found, self._clocks.steady_ns())
            self._held.append(held)
            self._keeper.save(self.rules.saved(), lambda: self._release(held))
        elif found:
            self.publisher.publish_events(found)
        self._publish_states()

    def _release(self, held: _Held) -> None:
        """Publishes events up to these, which may have been published already."""
        while held in self._held:
            self.publisher.publish_events(self._held.popleft().found)

    def _publish_states(self) -> None:
        self.publisher.publish_states(self.states(), self._clocks.now_ns())

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
