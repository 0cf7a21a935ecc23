# SPDX-License-Identifier: Apache-2.0
"""One rule on one camera: the state machine that makes events of probabilities.

All that decides an event counts stamps of frames. The steady clock only tells how long nothing was
heard: then nobody knows, and after longer an event is lost.
"""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import Evaluation, Event, EventKind, RuleState, SavedMonitor, State
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.schedule import AchievedPeriod

NOT_YET = 'it was not evaluated yet'
RESTARTED = 'the node was restarted, and it was not evaluated yet since'
LATE_PERIODS = 3
"""So many periods without an evaluation are an outage."""


@dataclass(frozen=True)
class MonitorLimits:
    """What holds for all rules; durations in nanoseconds.

    With more than `max_other_mass` an evaluation says nothing. `stale_after_ns` without an
    evaluation the state is unknown, after `lost_after_ns` an event is lost; rules with a long
    period have LATE_PERIODS of it.
    """

    max_other_mass: float = 0.5
    still_period_ns: int = 10 * NANOSECONDS
    stale_after_ns: int = 5 * NANOSECONDS
    lost_after_ns: int = 120 * NANOSECONDS


@dataclass
class EventUnderWay:
    """An event that has begun. `held_ns` is the last stamp at which its condition held, `told_ns`
    that of its last message, None when this process sent none.
    """

    id: str
    start_ns: int
    held_ns: int
    peak: float
    told_ns: int | None = None


class RuleMonitor:
    """The state of a rule on a camera. Every method returns the events to publish, in order.

    `steady_ns` is a clock that never jumps; `new_id` makes ids of events.
    """

    def __init__(
        self,
        rule: Rule,
        camera: str,
        steady_ns: Callable[[], int],
        limits: MonitorLimits = MonitorLimits(),
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.rule = rule
        self.camera = camera
        self.limits = limits
        self._steady_ns = steady_ns
        self._new_id = new_id
        self._confirm: deque[Evaluation] = deque(maxlen=rule.confirm_window)
        self._heal: deque[Evaluation] = deque(maxlen=rule.heal_window)
        self._period = AchievedPeriod(rule.period_ns)
        self._event: EventUnderWay | None = None
        self._confirmed_since_ns: int | None = None
        self._cooldown_until_ns: int | None = None
        self._last: Evaluation | None = None
        self._decided_ns: int | None = None  # stamp of the last evaluation that said something
        self._evaluations = 0
        self._heard_ns = self._decided_at_ns = steady_ns()
        self._disabled = 'it is switched off' if rule.is_disabled else ''
        self._unknown = NOT_YET
        self._state = State.DISABLED if self._disabled else State.UNKNOWN
        self._since_ns = 0

    @property
    def is_disabled(self) -> bool:
        """Whether it is switched off, or outside its valid times."""
        return bool(self._disabled)

    @property
    def state(self) -> RuleState:
        """The state as it is published."""
        silence_ns = self._steady_ns() - self._heard_ns
        late = '' if self._disabled or not self._last else self._period.complaint(silence_ns)
        return RuleState(
            self.rule.id,
            self.camera,
            self._state,
            self._disabled or self._unknown or late,
            self._last.probability if self._last else 0.0,
            self._last.other_mass if self._last else 0.0,
            self._since_ns,
            self._last.stamp_ns if self._last else 0,
            self._evaluations,
            self._period.average_ns,
            not late,
            self._event.id if self._event else '',
        )

    def observe(self, evaluation: Evaluation) -> list[Event]:
        """Takes an evaluation. A second one of the same frame confirms nothing and is left out; an
        earlier frame than the last one means that the clock jumped.
        """
        if self._disabled:
            return []
        stamp_ns, events = evaluation.stamp_ns, list[Event]()
        self._heard_ns = self._steady_ns()
        if self._last and stamp_ns == self._last.stamp_ns:
            return []
        newest_ns = self._last.stamp_ns if self._last else self._decided_ns
        if newest_ns is not None and stamp_ns < newest_ns:
            seconds = (newest_ns - stamp_ns) / NANOSECONDS
            events += self.restart(f'the clock jumped back by {seconds:.1f} s', stamp_ns)
        elif self._decided_ns is not None and stamp_ns - self._decided_ns > self._patience():
            seconds = (stamp_ns - self._decided_ns) / NANOSECONDS
            events += self._forget(f'nobody saw what was for {seconds:.1f} s', stamp_ns)
        self._last = evaluation
        self._evaluations += 1
        self._period.note(stamp_ns)
        self._unknown = self._doubt(evaluation)
        if not self._unknown:
            self._decided_ns, self._decided_at_ns = stamp_ns, self._heard_ns
            events += (
                self._heal_or_go_on(evaluation) if self._event else self._confirmed(evaluation)
            )
        self._note_state(stamp_ns)
        return events

    def report_unknown(self, reason: str, now_ns: int) -> list[Event]:
        """Says that the rule cannot be evaluated, and why; the next evaluation ends that."""
        if not self._disabled:
            self._unknown = reason
            self._note_state(now_ns)
        return self.check(now_ns)

    def check(self, now_ns: int) -> list[Event]:
        """Looks how long nothing was heard; to be called about once a second. `now_ns` is ROS
        time.
        """
        if self._disabled:
            return []
        steady_ns = self._steady_ns()
        silence_ns = steady_ns - self._heard_ns
        limit_ns = max(self.limits.stale_after_ns, LATE_PERIODS * self.rule.period_ns)
        if not self._unknown and silence_ns > limit_ns:
            self._unknown = f'it was not evaluated for {silence_ns / NANOSECONDS:.1f} s'
            self._note_state(now_ns)
        undecided_ns = steady_ns - self._decided_at_ns
        if self._event and undecided_ns > self._patience():
            seconds = undecided_ns / NANOSECONDS
            why = f'nobody could say for {seconds:.0f} s whether it goes on: {self._unknown}'
            return self._forget(why, now_ns)
        return []

    def disable(self, reason: str, now_ns: int) -> list[Event]:
        """Stops evaluating, for `reason`; '' goes on. An event under way ends."""
        if self.rule.is_disabled or reason == self._disabled:
            return []
        self._disabled = reason
        events = self._end(self._decided_ns or now_ns, reason) if self._event and reason else []
        self._period = AchievedPeriod(self.rule.period_ns)
        self._clear()
        self._unknown = NOT_YET
        self._heard_ns = self._decided_at_ns = self._steady_ns()
        self._note_state(now_ns)
        return events

    def restart(self, reason: str, now_ns: int) -> list[Event]:
        """Forgets all evaluations, as after a jump of the clock; an event under way is lost."""
        events = self._forget(reason, now_ns)
        self._last = None
        self._cooldown_until_ns = None
        self._note_state(now_ns)
        return events

    def saved(self) -> SavedMonitor | None:
        """Returns what has to outlive a restart; None when nothing has."""
        if self._event is None and self._cooldown_until_ns is None:
            return None
        event = self._event or EventUnderWay('', 0, 0, 0.0)
        return SavedMonitor(
            self.rule.id,
            self.camera,
            self.rule.condition,
            self._decided_ns or 0,
            self._cooldown_until_ns or 0,
            event.id,
            event.start_ns,
            event.held_ns,
            event.peak,
        )

    def resume(self, saved: SavedMonitor) -> None:
        """Goes on with what an earlier process saved: its event is under way, and nobody knows yet
        whether still.
        """
        self._cooldown_until_ns = saved.cooldown_until_ns or None
        self._decided_ns = saved.evaluated_ns
        self._unknown = RESTARTED
        if saved.event:
            self._event = EventUnderWay(saved.event, saved.start_ns, saved.held_ns, saved.peak)

    def _confirmed(self, evaluation: Evaluation) -> list[Event]:
        rule, stamp_ns = self.rule, evaluation.stamp_ns
        self._confirm.append(evaluation)
        holding = [one for one in self._confirm if one.probability >= rule.threshold_begin]
        if len(holding) < rule.confirm_count:
            self._confirmed_since_ns = None
            return []
        if self._confirmed_since_ns is None:
            self._confirmed_since_ns = holding[0].stamp_ns
        is_cool = self._cooldown_until_ns is None or stamp_ns >= self._cooldown_until_ns
        has_lasted = stamp_ns - self._confirmed_since_ns >= rule.min_duration_ns
        if not (is_cool and has_lasted and evaluation is holding[-1]):
            return []
        peak = max(one.probability for one in self._confirm)
        start_ns, led = self._confirmed_since_ns, tuple(self._confirm)
        self._event = EventUnderWay(self._new_id(), start_ns, stamp_ns, peak)
        self._clear()
        return [self._told(EventKind.BEGIN, stamp_ns, led)]

    def _heal_or_go_on(self, evaluation: Evaluation) -> list[Event]:
        assert self._event is not None
        rule, event, stamp_ns = self.rule, self._event, evaluation.stamp_ns
        self._heal.append(evaluation)
        event.peak = max(event.peak, evaluation.probability)
        holds = evaluation.probability >= rule.threshold_end
        if holds:
            event.held_ns = stamp_ns
        elif len(self._below()) >= rule.heal_count:
            return self._end(stamp_ns)
        told_ns, still_ns = event.told_ns, self.limits.still_period_ns
        if holds and (told_ns is None or stamp_ns - told_ns >= still_ns):
            return [self._told(EventKind.STILL, stamp_ns, tuple(self._heal))]
        return []

    def _end(self, stamp_ns: int, reason: str = '') -> list[Event]:
        message = self._told(EventKind.END, stamp_ns, tuple(self._heal), reason)
        self._event = None
        self._clear()
        self._cooldown_until_ns = (
            stamp_ns + self.rule.cooldown_ns if self.rule.cooldown_ns else None
        )
        return [message]

    def _forget(self, reason: str, now_ns: int) -> list[Event]:
        """Loses the event under way, and all that was counted."""
        events = list[Event]()
        if self._event:
            stamp_ns = self._decided_ns or self._event.held_ns
            events = [self._told(EventKind.LOST, stamp_ns, tuple(self._heal), reason)]
        self._event = None
        self._decided_ns = None
        self._unknown = self._unknown or reason
        self._period = AchievedPeriod(self.rule.period_ns)
        self._clear()
        self._note_state(now_ns)
        return events

    def _told(
        self, kind: EventKind, stamp_ns: int, led: tuple[Evaluation, ...], reason: str = ''
    ) -> Event:
        event, rule = self._event, self.rule
        assert event is not None
        event.told_ns = stamp_ns
        return Event(
            event.id,
            rule.id,
            rule.condition,
            kind,
            self.camera,
            stamp_ns,
            event.start_ns,
            event.held_ns,
            led,
            event.peak,
            rule.severity,
            reason,
        )

    def _clear(self) -> None:
        self._confirm.clear()
        self._heal.clear()
        self._confirmed_since_ns = None

    def _below(self) -> list[Evaluation]:
        return [one for one in self._heal if one.probability < self.rule.threshold_end]

    def _doubt(self, evaluation: Evaluation) -> str:
        """Returns why an evaluation says nothing; '' when it says something."""
        if not math.isfinite(evaluation.probability):
            return 'the model gave no probability'
        if not evaluation.other_mass <= self.limits.max_other_mass:
            share = evaluation.other_mass
            return f'the model gave {share:.0%} of the probability to neither of the answers'
        return ''

    def _patience(self) -> int:
        return max(self.limits.lost_after_ns, LATE_PERIODS * self.rule.period_ns)

    def _note_state(self, stamp_ns: int) -> None:
        before, self._state = self._state, self._current()
        if self._state != before:
            self._since_ns = stamp_ns

    def _current(self) -> State:
        if self._disabled:
            return State.DISABLED
        if self._unknown:
            return State.UNKNOWN
        if self._event:
            return State.HEALING if self._below() else State.ACTIVE
        begin = self.rule.threshold_begin
        is_pending = any(one.probability >= begin for one in self._confirm)
        return State.PENDING if is_pending else State.INACTIVE
