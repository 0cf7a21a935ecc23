# SPDX-License-Identifier: Apache-2.0
"""Has the rules evaluated that are due, camera by camera, and turns what comes back into events.

One evaluation of a camera is under way at a time. Frames make rules due; what was given up for a
question is tried again with the next rules that are. Everything here belongs to one thread, to
which `post` carries what the worker's thread has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from penguin_ros.errors import (
    ClockJumped,
    Inactive,
    PenguinError,
    RequestReplaced,
)
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.request import Evidence
from penguin_ros.requests.rule_job import EvaluatedBatch, RuleResults, firing_answer
from penguin_ros.rules.event import Evaluation, Event
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.schedule import Batch

BUSY_NS = 5 * NANOSECONDS
"""An evaluation that is under way for longer says nothing about the present."""


@dataclass(frozen=True)
class Clocks:
    """`now_ns` gives camera time (the clock of the stamps), `steady_ns` a clock that never jumps;
    any thread.
    """

    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]


class Evaluator(Protocol):
    """What of RuleEvaluations is needed."""

    def submit(self, batches: Sequence[Batch], on_end: Callable[[RuleResults], None]) -> None:
        """See RuleEvaluations."""

    def check_present(self, camera: str) -> None:
        """See RuleEvaluations."""


@dataclass(frozen=True, eq=False)
class FoundEvent:
    """An event to publish, what it is based on, and the frame that led to it where the rule wants
    its picture.
    """

    event: Event
    evidence: Evidence = Evidence()
    picture: Frame | None = None


class RuleRunner:
    """`on_update` gets the events found, maybe none, whenever states may have changed."""

    def __init__(
        self,
        rules: RuleSet,
        evaluator: Evaluator,
        clocks: Clocks,
        post: Callable[[Callable[[], None]], None],
        on_update: Callable[[list[FoundEvent]], None],
    ) -> None:
        self.rules = rules
        self._evaluator = evaluator
        self._clocks = clocks
        self._post = post
        self._on_update = on_update
        self._cameras: tuple[str, ...] = ()
        self._newest_ns: dict[str, int] = {}
        self._begun_ns: dict[str, int] = {}
        """When the evaluation of a camera that is under way was submitted, by the steady clock."""
        self._again: dict[str, tuple[Batch, ...]] = {}

    def start(self, cameras: Iterable[str]) -> None:
        """Evaluates from now on."""
        self._cameras = tuple(cameras)
        self._newest_ns.clear()
        self._again.clear()

    def stop(self, reason: str) -> None:
        """Evaluates no longer: rules are unknown for that reason."""
        cameras, self._cameras = self._cameras, ()
        for camera in cameras:
            self.rules.report_unknown(camera, reason, self._clocks.now_ns())

    def note_frame(self, camera: str, stamp_ns: int) -> None:
        """Notes the stamp of a frame that the buffer of a camera has taken."""
        self._newest_ns[camera] = stamp_ns
        self._offer(camera)

    def tick(self) -> None:
        """Looks after cameras without frames, an engine that is busy and valid times; to be called
        about twice a second, by a steady clock.
        """
        found: list[Event] = []
        now_ns = self._clocks.now_ns()
        for camera in self._cameras:
            if reason := self._doubt(camera):
                found += self.rules.report_unknown(camera, reason, now_ns)
        if self._cameras:
            found += self.rules.check(now_ns)
        self._update(found)

    def clock_jumped(self, reason: str) -> None:
        """Forgets all evaluations after a jump of ROS time."""
        self._newest_ns.clear()
        self._again.clear()
        self._update(self.rules.clock_jumped(reason, self._clocks.now_ns()))

    # --- inside -----------------------------------------------------------------------------------

    def _update(self, events: Iterable[Event]) -> None:
        self._on_update([FoundEvent(event) for event in events])

    def _doubt(self, camera: str) -> str:
        """Returns why nobody can say anything about a camera now; '' when all is well."""
        try:
            self._evaluator.check_present(camera)
        except PenguinError as error:
            return _reason(error)
        begun_ns = self._begun_ns.get(camera)
        if begun_ns is None:
            return ''
        waited_ns = self._clocks.steady_ns() - begun_ns
        if waited_ns < BUSY_NS:
            return ''
        seconds = waited_ns / NANOSECONDS
        return f'the engine is busy: an evaluation has been under way for {seconds:.0f} s'

    def _offer(self, camera: str) -> None:
        """Submits what is due on a camera, unless an evaluation of it is under way."""
        newest_ns = self._newest_ns.get(camera)
        if camera not in self._cameras or camera in self._begun_ns or newest_ns is None:
            return
        batches = self._merged(self._again.pop(camera, ()), self.rules.due(camera, newest_ns))
        if not batches:
            return
        self._begun_ns[camera] = self._clocks.steady_ns()
        try:
            self._evaluator.submit(batches, lambda results: self._post(lambda: self._take(results)))
        except PenguinError as error:
            self._take(RuleResults(camera, (), batches, error))

    def _merged(self, first: Sequence[Batch], second: Sequence[Batch]) -> tuple[Batch, ...]:
        """Returns the rules of both that are still there, each once, by the length of their
        clips.
        """
        if not first:
            return tuple(second)
        found: dict[tuple[str, int], dict[str, Rule]] = {}
        there = {rule.id: rule for rule in self.rules.rules()}
        for batch in (*first, *second):
            rules = {rule.id: rule for rule in batch.rules if there.get(rule.id) == rule}
            found.setdefault((batch.camera, batch.clip_ns), {}).update(rules)
        return tuple(Batch(*key, tuple(rules.values())) for key, rules in found.items() if rules)

    def _take(self, results: RuleResults) -> None:
        """Turns the end of an evaluation into events, and begins the next one when it is due."""
        self._begun_ns.pop(results.camera, None)
        if results.camera not in self._cameras:
            return
        found = [each for done in results.done for each in self._observed(done)]
        if results.error is not None:
            found += [FoundEvent(event) for event in self._failed(results, results.error)]
        self._on_update(found)
        if results.error is None or isinstance(results.error, RequestReplaced):
            self._offer(results.camera)

    def _observed(self, done: EvaluatedBatch) -> list[FoundEvent]:
        camera, stamp_ns = done.batch.camera, done.evidence.end_ns
        if done.doubt:
            events = self.rules.report_unknown(camera, done.doubt, stamp_ns, done.batch.rules)
            return [FoundEvent(event, done.evidence) for event in events]
        return [
            FoundEvent(event, done.evidence, done.frame if rule.wants_picture else None)
            for rule, score in zip(done.batch.rules, done.scores, strict=True)
            for event in self.rules.observe(
                rule,
                camera,
                Evaluation(stamp_ns, score.probability_of(firing_answer(rule)), score.other_mass),
            )
        ]

    def _failed(self, results: RuleResults, error: PenguinError) -> list[Event]:
        """Notes why rules were not evaluated; what a question displaced is tried again."""
        if isinstance(error, RequestReplaced):
            self._again[results.camera] = results.left
            return []
        if isinstance(error, (ClockJumped, Inactive)):
            return []
        rules = [rule for batch in results.left for rule in batch.rules]
        now_ns = self._clocks.now_ns()
        return self.rules.report_unknown(results.camera, _reason(error), now_ns, rules)


def _reason(error: PenguinError) -> str:
    return f'{error.what}: {error.why}' if error.why else error.what
