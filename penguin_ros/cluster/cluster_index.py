# SPDX-License-Identifier: Apache-2.0
"""The plan of an index on many machines: recordings are described, their missing spans are given
away, captions are written as they come, and what a dead captioner had is given to another.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from penguin_ros.cluster.caption_sinks import CaptionSink
from penguin_ros.cluster.crew import Crew, Outcome, Task
from penguin_ros.cluster.spans import (
    SPAN_CLIPS,
    RecordingFacts,
    RecordingPlace,
    Span,
    SpanCaptions,
    missing_spans,
)
from penguin_ros.cluster.work_list import WorkList
from penguin_ros.errors import DeviceLost

MOST_LOSSES = 3
"""A task is given up when that many captioners died over it: it may be what kills them."""

MOST_FAILURES = 3
"""A captioner that so often in a row could not begin gets nothing more, and the index is given up
when that is so of all.
"""

WAIT_S = 0.2


@dataclass
class RecordingReport:
    """What became of one recording; `errors` are sentences, each once."""

    captioned: int = 0
    known: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def complain(self, error: str) -> None:
        """Notes an error, once."""
        if error not in self.errors:
            self.errors.append(error)


@dataclass(frozen=True)
class Progress:
    """How far an index is: clips done and in all, of those recordings that are known by now, and
    the seconds left at the pace so far, None before the first clip.
    """

    done: int
    total: int
    left_s: float | None
    lost: int


class ClusterIndex:
    """One run over some recordings; on one thread."""

    def __init__(
        self,
        crew: Crew,
        sink: CaptionSink,
        clip_ns: int,
        on_progress: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
        span_clips: int = SPAN_CLIPS,
    ) -> None:
        self._crew = crew
        self._sink = sink
        self._clip_ns = clip_ns
        self._on_progress = on_progress
        self._clock = clock
        self._span_clips = span_clips
        self._work = WorkList()
        self._twins: dict[tuple[str, str], list[RecordingPlace]] = defaultdict(list)
        self._facts: dict[RecordingPlace, RecordingFacts] = {}
        self._out = 0
        self._losses: Counter[Task] = Counter()
        self._holders: dict[Task, str] = {}
        self._asked: set[str] = set()
        self._failures: Counter[str] = Counter()
        self.useless: dict[str, str] = {}  # captioners that could not begin, and why
        self._done = 0
        self._total = 0
        self._begun: float | None = None
        self.reports: dict[RecordingPlace, RecordingReport] = {}

    def run(self, places: Sequence[RecordingPlace]) -> dict[RecordingPlace, RecordingReport]:
        """Captions everything that is missing; returns what became of each recording. DeviceLost
        when captioners cannot begin.
        """
        self.reports = {place: RecordingReport() for place in places}
        for place in self.reports:
            self._work.add(place)
            self._twins[place.name, place.topic].append(place)
        while self._work or self._out:
            self._give_away()
            for outcome in self._crew.wait(WAIT_S):
                self._out -= 1
                self._take(outcome)
            self._on_progress(self._progress())
        self._sink.flush()
        return self.reports

    def _give_away(self) -> None:
        for captioner in self._crew.idle:
            if not self._work:
                return
            if captioner in self.useless:
                continue
            task = self._work.take(captioner)
            self._holders[task] = captioner
            self._asked.add(captioner)
            self._crew.give(captioner, task)
            self._out += 1

    def _take(self, outcome: Outcome) -> None:
        if outcome.ending == 'done':
            if isinstance(outcome.result, RecordingFacts):
                self._plan(outcome.task, outcome.result)
            elif isinstance(outcome.result, SpanCaptions) and isinstance(outcome.task, Span):
                self._failures[self._holders[outcome.task]] = 0
                self._write(outcome.task, outcome.result)
        elif outcome.ending == 'lost':
            self._lose(outcome)
        else:
            self._fail(outcome)

    def _fail(self, outcome: Outcome) -> None:
        """Leaves a captioner out that cannot begin, as on a machine without the model."""
        captioner = self._holders[outcome.task]
        self._work.put_back(outcome.task)
        self._failures[captioner] += 1
        if self._failures[captioner] >= MOST_FAILURES:
            self.useless[captioner] = outcome.why
        if self._asked <= self.useless.keys():
            raise DeviceLost(
                f'{len(self.useless)} captioners, all there are, could not begin',
                outcome.why,
                'Look into the logs of the cluster: ray logs',
            )

    def _plan(self, task: Task, facts: RecordingFacts) -> None:
        """Gives away what is missing of a recording, once it is known of all of its name how long
        they are.
        """
        assert isinstance(task, RecordingPlace)
        self._facts[task] = facts
        twins = self._twins[task.name, task.topic]
        if all(each in self._facts for each in twins):
            for index, each in enumerate(twins):
                self._plan_one(each, twins[:index])

    def _plan_one(self, task: RecordingPlace, before: Sequence[RecordingPlace]) -> None:
        report, facts = self.reports[task], self._facts[task]
        double = next((each for each in before if _overlap(self._facts[each], facts)), None)
        if double is not None and not facts.error:
            report.complain(
                f'left out: {double.path} has the same name and the same times, and captions are '
                'kept by these. Give one of them another name'
            )
            return
        if facts.error:
            report.complain(facts.error)
            return

        def is_done(moment_ns: int) -> bool:
            return self._sink.covers(task, facts.origin_ns, moment_ns)

        spans = list(missing_spans(task, facts, self._clip_ns, is_done, self._span_clips))
        clips = sum(span.count for span in spans)
        report.known = -(-facts.duration_ns // self._clip_ns) - clips
        self._total += clips
        for span in spans:
            begin_ns = span.origin_ns + span.first * self._clip_ns
            end_ns = begin_ns + span.count * self._clip_ns
            done = self._sink.within(task, facts.origin_ns, begin_ns, end_ns)
            self._work.add(replace(span, done=done))
        self._begun = self._clock() if self._begun is None else self._begun

    def _write(self, span: Span, result: SpanCaptions) -> None:
        """Writes what came, and brings it to the disk before anything else is given away."""
        report = self.reports[span.place]
        for caption in result.captions:
            if caption.error:
                report.failed += 1
                report.complain(caption.error)
            else:
                self._sink.add(span.place, span.origin_ns, caption)
                report.captioned += 1
        self._sink.flush()
        self._done += span.count
        report.known += result.known
        for sentence in (*result.notes, *filter(None, [result.error])):
            report.complain(sentence)
        if result.error:
            report.failed += max(0, span.count - len(result.captions) - result.known)

    def _lose(self, outcome: Outcome) -> None:
        self._losses[outcome.task] += 1
        if self._losses[outcome.task] < MOST_LOSSES:
            self._work.put_back(outcome.task)
            return
        task = outcome.task
        why = f'given up: {MOST_LOSSES} captioners died over it, {outcome.why}'
        if not isinstance(task, Span):
            self._plan(task, RecordingFacts(error=f'it {why}'))
            return
        report = self.reports[task.place]
        report.failed += task.count
        report.complain(f'clips {task.first} to {task.first + task.count - 1} {why}')
        self._done += task.count

    def _progress(self) -> Progress:
        left_s = None
        if self._done and self._begun is not None:
            pace = (self._clock() - self._begun) / self._done
            left_s = pace * (self._total - self._done)
        return Progress(self._done, self._total, left_s, sum(self._losses.values()))


def _overlap(one: RecordingFacts, other: RecordingFacts) -> bool:
    return (
        one.origin_ns < other.origin_ns + other.duration_ns
        and other.origin_ns < one.origin_ns + one.duration_ns
    )
