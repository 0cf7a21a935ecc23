# SPDX-License-Identifier: Apache-2.0
"""The plan of an index on many machines: recordings are described, their missing spans are given
away, captions are written as they come, and what a dead captioner had is given to another.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
"""The index is given up when that many captioners in a row could not begin."""

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
        self._out = 0
        self._losses: Counter[Task] = Counter()
        self._failures = 0
        self._done = 0
        self._total = 0
        self._begun: float | None = None
        self.reports: dict[RecordingPlace, RecordingReport] = {}

    def run(self, places: Sequence[RecordingPlace]) -> dict[RecordingPlace, RecordingReport]:
        """Captions everything that is missing; returns what became of each recording. DeviceLost
        when captioners cannot begin.
        """
        self.reports = {place: RecordingReport() for place in places}
        for place in places:
            self._work.add(place)
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
            self._crew.give(captioner, self._work.take(captioner))
            self._out += 1

    def _take(self, outcome: Outcome) -> None:
        if outcome.ending == 'done':
            self._failures = 0
            if isinstance(outcome.result, RecordingFacts):
                self._plan(outcome.task, outcome.result)
            elif isinstance(outcome.result, SpanCaptions) and isinstance(outcome.task, Span):
                self._write(outcome.task, outcome.result)
        elif outcome.ending == 'lost':
            self._lose(outcome)
        else:
            self._failures += 1
            self._work.put_back(outcome.task)
            if self._failures >= MOST_FAILURES:
                raise DeviceLost(
                    f'{self._failures} captioners in a row could not begin',
                    outcome.why,
                    'Look into the logs of the cluster: ray logs',
                )

    def _plan(self, task: Task, facts: RecordingFacts) -> None:
        assert isinstance(task, RecordingPlace)
        report = self.reports[task]
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
            self._work.add(span)
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
        for sentence in (*result.notes, *filter(None, [result.error])):
            report.complain(sentence)
        if result.error:
            report.failed += max(0, span.count - len(result.captions))

    def _lose(self, outcome: Outcome) -> None:
        self._losses[outcome.task] += 1
        if self._losses[outcome.task] < MOST_LOSSES:
            self._work.put_back(outcome.task)
            return
        task = outcome.task
        place = task.place if isinstance(task, Span) else task
        clips = task.count if isinstance(task, Span) else 0
        where = (
            f'clips {task.first} to {task.first + clips - 1}' if isinstance(task, Span) else 'it'
        )
        report = self.reports[place]
        report.failed += clips
        report.complain(f'{where} given up: {MOST_LOSSES} captioners died over it, {outcome.why}')
        self._done += clips

    def _progress(self) -> Progress:
        left_s = None
        if self._done and self._begun is not None:
            pace = (self._clock() - self._begun) / self._done
            left_s = pace * (self._total - self._done)
        return Progress(self._done, self._total, left_s, sum(self._losses.values()))
