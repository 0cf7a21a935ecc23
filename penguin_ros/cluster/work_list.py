# SPDX-License-Identifier: Apache-2.0
"""What an index has still to do, and who does it.

A recording is read forwards: a captioner that gets the next span of the recording that it has open
reads on, and any other one has to read up to the span first. So each stays with its recording until
nothing is left of that, and then joins the recording in which most is left for each captioner.
"""

from __future__ import annotations

from collections import Counter, deque

from penguin_ros.cluster.crew import Task
from penguin_ros.cluster.spans import RecordingPlace, Span


class WorkList:
    """Recordings to describe, which come first, so that all is known that is to be done, and spans
    to caption, those of a recording in their order.
    """

    def __init__(self) -> None:
        self._places: deque[RecordingPlace] = deque()
        self._spans: dict[RecordingPlace, deque[Span]] = {}  # none of them is empty
        self._reads: dict[str, RecordingPlace] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._places or self._spans)

    def add(self, task: Task) -> None:
        """Adds a task behind the others of its recording."""
        if isinstance(task, Span):
            self._spans.setdefault(task.place, deque()).append(task)
        else:
            self._places.append(task)

    def put_back(self, task: Task) -> None:
        """Adds a task that was taken, before the others of its recording."""
        if isinstance(task, Span):
            self._spans.setdefault(task.place, deque()).appendleft(task)
        else:
            self._places.appendleft(task)

    def take(self, captioner: str) -> Task:
        """Takes a task out for this captioner; there must be one."""
        if self._places:
            return self._places.popleft()
        place = self._reads.get(captioner)
        if place is None or place not in self._spans:
            self._reads.pop(captioner, None)
            place = self._reads[captioner] = self._fullest()
        spans = self._spans[place]
        span = spans.popleft()
        if not spans:
            del self._spans[place]
        return span

    def _fullest(self) -> RecordingPlace:
        """Returns the recording with the most spans for each captioner, one more included."""
        readers = Counter(self._reads.values())
        return max(self._spans, key=lambda place: len(self._spans[place]) / (readers[place] + 1))
