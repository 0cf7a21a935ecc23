# SPDX-License-Identifier: Apache-2.0
"""Who is next: questions before captions, first come first served. Knows no thread: its owner holds a lock around every call."""
from __future__ import annotations

from collections import Counter, deque

from penguin_ros.errors import Busy, DuplicateRequest, PenguinError, RequestReplaced
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry, Job, SchedulerCounts


class JobQueue:
    """Waiting and started jobs. At most one question and one caption are started; the caption rests while questions run.

    Bounded: `length` waiting questions (one more is Busy) and one waiting caption per key. A newer caption takes the place in
    the line of the one that it replaces, so that a camera that captions often is not passed over. Captions have no share of
    their own: they wait as long as questions do, which is counted. With `can_suspend` false (one KV slot) a started caption
    does not rest but is given up for a question.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.can_suspend = True
        self.counts: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._questions: deque[Entry] = deque()
        self._captions: dict[str, Entry] = {}
        self._question: Entry | None = None
        self._caption: Entry | None = None
        self._is_resting = False

    def snapshot(self) -> SchedulerCounts:
        """What waits, what runs, and all counts."""
        return SchedulerCounts(len(self._questions), len(self._captions), int(self._question is not None),
                               int(self._caption is not None), **self.counts)

    def entries(self) -> list[Entry]:
        """Every job that has not ended, in order of arrival."""
        return list(self._entries.values())

    def find(self, job_id: str) -> Entry | None:
        """The job of that id, unless it has ended."""
        return self._entries.get(job_id)

    def is_resting(self, entry: Entry) -> bool:
        """True for a started caption that questions keep from going on."""
        return self._is_resting and entry is self._caption

    def add(self, job: Job) -> None:
        """Puts a job in line; DuplicateRequest, Busy."""
        if job.id in self._entries:
            raise DuplicateRequest(f'request {job.id} is queued or running', 'an id names one request at a time',
                                   'Use another id, or leave it empty to get one')
        entry = Entry(job)
        if job.priority == Priority.QUESTION:
            self._add_question(entry)
        else:
            self._add_caption(entry)
        self._entries[job.id] = entry

    def next(self) -> Entry | None:
        """The job to advance by a step: the started question, the next question, the started caption, the next caption."""
        if self._question is None and self._questions:
            self._question = self._questions.popleft()
            self.counts['captions_overtaken'] += self._caption is not None or bool(self._captions)
        if self._question is not None:
            self.counts['captions_suspended'] += self._caption is not None and not self._is_resting
            self._is_resting = self._caption is not None
            return self._question
        self._is_resting = False
        if self._caption is None and self._captions:
            self._caption = self._captions.pop(next(iter(self._captions)))
        return self._caption

    def end(self, entry: Entry, error: PenguinError) -> None:
        """Marks a job to be ended with `error`, unless it already is; a waiting one leaves the line at once."""
        if entry.ending is None:
            entry.ending = error
            self._leave_line(entry)

    def remove(self, entry: Entry) -> bool:
        """Forgets a job; False when it was gone before, so that only one caller ends it."""
        if self._entries.get(entry.job.id) is not entry:
            return False
        del self._entries[entry.job.id]
        self._leave_line(entry)
        if entry is self._question:
            self._question = None
        if entry is self._caption:
            self._caption, self._is_resting = None, False
        return True

    def _leave_line(self, entry: Entry) -> None:
        if entry in self._questions:
            self._questions.remove(entry)
        if self._captions.get(entry.job.key) is entry:
            del self._captions[entry.job.key]

    def _add_question(self, entry: Entry) -> None:
        if len(self._questions) >= self.length:
            raise Busy(f'{self.length} questions are waiting', 'no more may wait (question.queue_length)', 'Ask again later')
        self._questions.append(entry)
        if self._caption is not None and not self.can_suspend:
            self.end(self._caption, RequestReplaced('the caption was given up for a question', 'there is one KV slot only',
                                                    'Set model.kv_slots to 2 or more'))

    def _add_caption(self, entry: Entry) -> None:
        waiting = self._captions.get(entry.job.key)
        if waiting is not None:
            waiting.ending = RequestReplaced('a newer caption took the place of this one', 'it had not been started')
            self.counts['captions_replaced'] += 1
        self._captions[entry.job.key] = entry
