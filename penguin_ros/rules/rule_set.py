# SPDX-License-Identifier: Apache-2.0
"""All rules of a node and how they are doing: the front door of the room.

It says which rules are due, takes their probabilities and returns the events to publish. Every
method may be called on any thread; none of them waits for anything but the others.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import TooManyRules, UnknownRule
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import Evaluation, Event, EventKind, RuleState, SavedMonitor
from penguin_ros.rules.monitor import MonitorLimits, RuleMonitor
from penguin_ros.rules.rule import MAX_ID_CHARACTERS, Rule, checked_rule
from penguin_ros.rules.schedule import Batch, Schedule
from penguin_ros.rules.valid_times import LocalTime, is_valid_at
from penguin_ros.text import cleaned

INVALID_TIME = 'it is outside its valid times'
NO_CAMERA = 'no camera of that name is configured'
REMOVED, REPLACED = 'the rule was removed', 'the rule was replaced'
CHANGED_MEANWHILE = 'the node was restarted, and its rule is not what it was'


class RuleSet:
    """Rules by id, and a monitor for each of them on each of its cameras."""

    def __init__(
        self,
        config: PenguinConfig,
        cameras: Sequence[str],
        steady_ns: Callable[[], int] = time.monotonic_ns,
        local_time: LocalTime = time.localtime,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._cameras = tuple(cameras)
        self._steady_ns = steady_ns
        self._local_time = local_time
        self._new_id = new_id
        self._lock = threading.RLock()
        self._rules: dict[str, Rule] = {}
        self._origins: dict[str, str] = {}
        self._monitors: dict[str, dict[str, RuleMonitor]] = {}
        self._schedule = Schedule()

    # --- which rules there are --------------------------------------------------------------------

    def rules(self) -> tuple[Rule, ...]:
        """Returns the rules by id, with their defaults filled in."""
        with self._lock:
            return tuple(self._rules[name] for name in sorted(self._rules))

    def origin(self, rule_id: str) -> str:
        """Returns where the rule comes from; UnknownRule."""
        with self._lock:
            self._known(rule_id)
            return self._origins[rule_id]

    def rule(self, rule_id: str) -> Rule:
        """Returns the rule of that id; UnknownRule."""
        with self._lock:
            return self._known(rule_id)

    def check_rule(self, rule: Rule, *, needs_cameras: bool = True) -> Rule:
        """Returns the rule with its defaults filled in; raises what `set_rule` would."""
        with self._lock:
            checked = checked_rule(rule, self._config, self._cameras if needs_cameras else None)
            limit = self._config.rule.max_rules
            if checked.id not in self._rules and len(self._rules) >= limit:
                raise TooManyRules(
                    f'there are {len(self._rules)} rules',
                    f'{limit} are taken (rule.max_rules)',
                    'Remove one, or raise the limit',
                )
            return checked

    def set_rule(
        self, rule: Rule, origin: str, now_ns: int, *, needs_cameras: bool = True
    ) -> tuple[Rule, bool, list[Event]]:
        """Adds the rule, or replaces the one of the same id: an event of that one is lost.

        Returns the rule with its defaults filled in, whether another one was replaced, and events.
        A rule that is the same as before changes nothing. Raises InvalidRule, UnknownCamera (not
        without `needs_cameras`: a rule of a file outlives its camera) and TooManyRules.
        """
        with self._lock:
            checked = self.check_rule(rule, needs_cameras=needs_cameras)
            is_replaced = checked.id in self._rules
            if is_replaced and self._rules[checked.id] == checked:
                return checked, True, []
            events = self._dropped(checked.id, REPLACED, now_ns) if is_replaced else []
            self._rules[checked.id], self._origins[checked.id] = checked, origin
            self._monitors[checked.id] = {
                camera: self._monitor(checked, camera)
                for camera in checked.cameras or self._cameras
            }
            return checked, is_replaced, events + self.check(now_ns)

    def remove_rule(self, rule_id: str, now_ns: int) -> list[Event]:
        """Removes a rule; an event of it is lost. UnknownRule."""
        with self._lock:
            self._known(rule_id)
            events = self._dropped(rule_id, REMOVED, now_ns)
            del self._rules[rule_id], self._origins[rule_id], self._monitors[rule_id]
            return events

    def reconfigure(self, config: PenguinConfig) -> None:
        """Takes settings that were changed; a rule keeps the defaults that it got when it was
        set.
        """
        with self._lock:
            self._config = config
            for monitor in self._all():
                monitor.limits = self._limits()

    # --- evaluating them --------------------------------------------------------------------------

    def due(self, camera: str, newest_ns: int) -> tuple[Batch, ...]:
        """Returns what is to be evaluated now on a camera whose newest frame has that stamp: all
        rules that look at a clip of one length together. What is returned counts as begun. That
        an event ends with the valid times of its rule is told by `check`.
        """
        with self._lock:
            rules = []
            for name, rule in self._rules.items():
                monitor = self._monitors[name].get(camera)
                if monitor and is_valid_at(rule.valid_times, newest_ns, self._local_time):
                    monitor.disable('', newest_ns)  # it may have become valid just now
                    rules += [] if monitor.is_disabled else [rule]
            return self._schedule.due(rules, camera, newest_ns)

    def observe(self, rule: Rule, camera: str, evaluation: Evaluation) -> list[Event]:
        """Takes what a rule got on a camera; nothing when the rule was removed or replaced
        meanwhile.
        """
        with self._lock:
            if self._rules.get(rule.id) != rule or camera not in self._monitors[rule.id]:
                return []
            return self._monitors[rule.id][camera].observe(evaluation)

    def report_unknown(
        self, camera: str, reason: str, now_ns: int, rules: Collection[Rule] | None = None
    ) -> list[Event]:
        """Says why the rules of a camera, or those given, cannot be evaluated: no recent frame, too
        dark, the engine is busy. The next evaluation of each ends that.
        """
        with self._lock:
            names = None if rules is None else {rule.id for rule in rules}
            return _each(
                monitors[camera].report_unknown(reason, now_ns)
                for name, monitors in self._monitors.items()
                if camera in monitors and (names is None or name in names)
            )

    def check(self, now_ns: int) -> list[Event]:
        """Looks after the valid times, and after what was not evaluated for too long; to be called
        about once a second. `now_ns` is ROS time.
        """
        with self._lock:
            events = self._check_times(now_ns)
            for monitor in self._all():
                if monitor.camera not in self._cameras:
                    events += monitor.report_unknown(NO_CAMERA, now_ns)
                else:
                    events += monitor.check(now_ns)
            return events

    def clock_jumped(self, reason: str, now_ns: int) -> list[Event]:
        """Forgets all evaluations; events under way are lost with that reason."""
        with self._lock:
            self._schedule.clear()
            return _each(monitor.restart(reason, now_ns) for monitor in self._all())

    def states(self) -> tuple[RuleState, ...]:
        """Returns how each rule is doing on each of its cameras, by id and camera."""
        with self._lock:
            return tuple(
                self._monitors[name][camera].state
                for name in sorted(self._monitors)
                for camera in sorted(self._monitors[name])
            )

    # --- over a restart ---------------------------------------------------------------------------

    def saved(self) -> tuple[SavedMonitor, ...]:
        """Returns what has to outlive a restart."""
        with self._lock:
            return tuple(one for monitor in self._all() if (one := monitor.saved()))

    def resume(self, saved: Collection[SavedMonitor], now_ns: int) -> list[Event]:
        """Goes on where an earlier process stopped, once its rules are set.

        An event whose rule is gone or changed is lost at once; for another one the next
        evaluations tell: no second BEGIN is sent.
        """
        lost: list[Event] = []
        with self._lock:
            for one in saved:
                monitor = self._monitors.get(one.rule, {}).get(one.camera)
                if monitor and monitor.rule.condition == one.condition:
                    monitor.resume(one)
                elif one.event:
                    lost.append(_lost(one))
            return lost + self.check(now_ns)

    # --- inside -----------------------------------------------------------------------------------

    def _known(self, rule_id: str) -> Rule:
        if rule_id not in self._rules:
            names = ', '.join(sorted(self._rules)[:10]) or 'none'
            raise UnknownRule(
                f'there is no rule {cleaned(rule_id[:MAX_ID_CHARACTERS])!r}',
                f'the rules are: {names}',
                'penguin rules list shows them all',
            )
        return self._rules[rule_id]

    def _monitor(self, rule: Rule, camera: str) -> RuleMonitor:
        return RuleMonitor(rule, camera, self._steady_ns, self._limits(), self._new_id)

    def _limits(self) -> MonitorLimits:
        config = self._config
        return MonitorLimits(
            config.rule.max_other_mass,
            round(config.rule.still_period * NANOSECONDS),
            round(config.watch.stale_after * NANOSECONDS),
            round(config.rule.lost_after * NANOSECONDS),
        )

    def _dropped(self, rule_id: str, reason: str, now_ns: int) -> list[Event]:
        self._schedule.forget(rule_id)
        return _each(
            monitor.restart(reason, now_ns) for monitor in self._monitors[rule_id].values()
        )

    def _check_times(self, now_ns: int) -> list[Event]:
        events: list[Event] = []
        for name, rule in self._rules.items():
            if not rule.valid_times:
                continue
            is_valid = is_valid_at(rule.valid_times, now_ns, self._local_time)
            for monitor in self._monitors[name].values():
                events += monitor.disable('' if is_valid else INVALID_TIME, now_ns)
        return events

    def _all(self) -> tuple[RuleMonitor, ...]:
        return tuple(one for monitors in self._monitors.values() for one in monitors.values())


def _each(events: Iterable[list[Event]]) -> list[Event]:
    return list(chain.from_iterable(events))


def _lost(saved: SavedMonitor) -> Event:
    return Event(
        saved.event,
        saved.rule,
        saved.condition,
        EventKind.LOST,
        saved.camera,
        saved.evaluated_ns,
        saved.start_ns,
        saved.held_ns,
        (),
        saved.peak,
        reason=CHANGED_MEANWHILE,
    )
