# SPDX-License-Identifier: Apache-2.0
"""How the worker thread is doing: values. Knows neither jobs nor locks.

What the scheduler runs, and what it counts. Knows neither models nor threads.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from penguin_ros.errors import PenguinError
from penguin_ros.request import Priority


class Job(Protocol):
    """Work in steps. Ends in exactly one call of either `finish` or `abort`, both quick."""

    @property
    def id(self) -> str:
        """Unique among the jobs that wait or run."""

    @property
    def priority(self) -> Priority:
        """Questions run before captions, both before work ahead."""

    @property
    def key(self) -> str:
        """Of a caption, or of work ahead, its camera: a waiting one gives way to a newer one of the
        same key.
        """

    @property
    def deadline_ns(self) -> int | None:
        """On the steady clock; past it the job is ended with DeadlineExceeded."""

    @property
    def max_preemption_ns(self) -> int | None:
        """A started caption that questions have kept from going on for longer, in all, is ended
        with StaleFrames.
        """

    def steps(self) -> Generator[None, None, None]:
        """The work, a bounded piece between two yields. To end it early, an error is thrown in:
        free what is held, re-raise.
        """

    def finish(self) -> None:
        """The generator has returned."""

    def abort(self, error: PenguinError) -> None:
        """The job ended early, before, during or instead of its steps."""


@dataclass(eq=False)
class Entry:
    """A job on its way. `generator` exists once it was started; `ending` is the error that it is to
    be ended with.

    `preempted_ns`: how long it has rested, up to `preempted_since_ns`, from when on it rests now
    (None: it does not); `keeps_its_turn`: it was ended for the sake of a question, so that its
    camera is not passed over.
    """

    job: Job
    generator: Generator[None, None, None] | None = None
    ending: PenguinError | None = None
    preempted_ns: int = 0
    preempted_since_ns: int | None = None
    keeps_its_turn: bool = False

    def preempt(self, now_ns: int) -> None:
        """Questions keep it from going on."""
        self.preempted_since_ns = (
            now_ns if self.preempted_since_ns is None else self.preempted_since_ns
        )

    def resume(self, now_ns: int) -> None:
        """It goes on."""
        self.preempted_ns, self.preempted_since_ns = self.preempted_at(now_ns), None

    def preempted_at(self, now_ns: int) -> int:
        """How long it has rested in all."""
        return self.preempted_ns + (
            0 if self.preempted_since_ns is None else now_ns - self.preempted_since_ns
        )


@dataclass(frozen=True)
class SchedulerStats:
    """What waits and runs now (a resting caption counts as running), and what became of everything
    since the start.

    `questions_failed`, `captions_dropped`: ended early for whatever reason, of which
    `captions_replaced`: gave way before they started, `captions_stale`: ran out of time, or of
    their longest pause, while questions were served; `captions_preempted`: times that a question
    interrupted a caption; `captions_delayed`: questions that were started while a caption waited or
    was suspended; `precomputes_finished`, `precomputes_dropped`, `precomputes_replaced`: the same
    of work ahead; `job_failures`: exceptions that were no PenguinError; `callback_failures`:
    exceptions of `finish` and `abort`.
    """

    questions_waiting: int = 0
    captions_waiting: int = 0
    questions_running: int = 0
    captions_running: int = 0
    questions_finished: int = 0
    questions_failed: int = 0
    questions_refused: int = 0
    captions_finished: int = 0
    captions_dropped: int = 0
    captions_replaced: int = 0
    captions_stale: int = 0
    captions_preempted: int = 0
    captions_delayed: int = 0
    precomputes_finished: int = 0
    precomputes_dropped: int = 0
    precomputes_replaced: int = 0
    job_failures: int = 0
    callback_failures: int = 0


class WorkerState(Enum):
    """What the worker thread is doing."""

    NEW = 'new'
    OPENING = 'opening'
    SERVING = 'serving'
    CLOSED = 'closed'
    FAILED = 'failed'


@dataclass(frozen=True)
class WorkerStatus:
    """`heartbeat_ns`: steady time of the last sign of life; `step_ns`: how long the current step
    has taken, 0 between steps; `failure`: why the state is FAILED.
    """

    state: WorkerState
    heartbeat_ns: int
    step_ns: int
    failure: PenguinError | None
