# SPDX-License-Identifier: Apache-2.0
"""What the scheduler runs, how far it is, and what is counted: a protocol and values."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from penguin_ros.errors import PenguinError
from penguin_ros.request import Priority


class Job(Protocol):
    """Work in steps, each a bounded piece. Every job that the scheduler takes ends in exactly one
    call of either `finish` or `abort`, both quick.

    Preemption: between two steps of a caption a question or a rule may come. The caption is then
    preempted: its generator stays at its yield and keeps all that it holds, its KV slot too, while
    the other runs; afterwards the caption is resumed where it was. A question preempts a rule in
    the same way, and work of priority BACKGROUND stops while anything else is to do.
    """

    @property
    def id(self) -> str:
        """The name of the job, unique among those that wait or run."""

    @property
    def priority(self) -> Priority:
        """Questions run before rules, these before captions, all before background work."""

    @property
    def key(self) -> str:
        """The camera, of whatever is no question: a waiting job gives way to a newer one of the
        same priority and key.
        """

    @property
    def deadline_ns(self) -> int | None:
        """Time of the steady clock after which the job is ended with DeadlineExceeded."""

    @property
    def is_ready(self) -> bool:
        """False while a question cannot be started yet: it keeps its place in the line, and others
        pass it. A started job that is not ready after a step is parked: it waits for something else
        than the worker, which meanwhile runs others. See Scheduler.wake.
        """

    @property
    def max_preemption_ns(self) -> int | None:
        """A caption that has been preempted for longer, in all, is ended with StaleFrames."""

    def steps(self) -> Generator[None, None, None]:
        """The work, with a yield after each bounded piece. To end it early, an error is thrown in:
        the job frees what it holds and raises the error again.
        """

    def finish(self) -> None:
        """Called when the generator has returned."""

    def abort(self, error: PenguinError) -> None:
        """Called when the job ended early, before, during or instead of its steps."""


@dataclass(eq=False)
class Entry:
    """A job that the scheduler has taken and not ended yet. `generator` exists once the job was
    started; `ending` is the error that it is to be ended with.

    `preempted_ns`: how long it was preempted in all, up to `preempted_since_ns`, the time since
    when it is preempted now (None: it is not). `keeps_its_turn`: it is ended for the sake of a
    question, so that its camera is not passed over.
    """

    job: Job
    generator: Generator[None, None, None] | None = None
    ending: PenguinError | None = None
    preempted_ns: int = 0
    preempted_since_ns: int | None = None
    keeps_its_turn: bool = False

    def preempt(self, now_ns: int) -> None:
        """Notes that another job keeps this one from going on."""
        if self.preempted_since_ns is None:
            self.preempted_since_ns = now_ns

    def resume(self, now_ns: int) -> None:
        """Notes that the job goes on."""
        self.preempted_ns = self.preempted_for(now_ns)
        self.preempted_since_ns = None

    def preempted_for(self, now_ns: int) -> int:
        """Returns for how many nanoseconds the job has been preempted in all."""
        if self.preempted_since_ns is None:
            return self.preempted_ns
        return self.preempted_ns + now_ns - self.preempted_since_ns


@dataclass(frozen=True)
class SchedulerStats:
    """What waits and runs now (a preempted job counts as running), and what became of all jobs
    since the start.

    `questions_failed`, `captions_dropped`: ended early for whatever reason. Among those:
    `captions_replaced` gave way to a newer caption before they started; `captions_stale` ran out of
    time, or of `max_preemption_ns`, while others were served. `captions_preempted`: how often a
    question or a rule preempted a caption; `captions_delayed`: questions that were started while a
    caption waited or was preempted. `rules_finished`, `rules_dropped`, `rules_replaced`,
    `rules_preempted`, `precomputes_finished`, ...: the same of evaluations of rules, one for all
    rules of a camera that were due, and of background work. `job_failures`: exceptions that were no
    PenguinError; `callback_failures`: exceptions of `finish` and `abort`.
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
    rules_waiting: int = 0
    rules_running: int = 0
    rules_finished: int = 0
    rules_dropped: int = 0
    rules_replaced: int = 0
    rules_preempted: int = 0
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
    """How the worker thread is doing. `heartbeat_ns`: steady time of its last sign of life;
    `step_ns`: how long the current step has taken, 0 between steps; `failure`: why it has FAILED.
    """

    state: WorkerState
    heartbeat_ns: int
    step_ns: int
    failure: PenguinError | None
