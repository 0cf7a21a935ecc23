# SPDX-License-Identifier: Apache-2.0
"""Jobs whose steps a test lets through one by one, a clock that it turns, and a scheduler that runs
both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.request import Priority
from penguin_ros.scheduler.scheduler import Scheduler

LIVENESS_SECONDS = 20.0


class FakeClock:
    """A steady clock that stands still until it is turned."""

    def __init__(self) -> None:
        self._now_ns = 1_000
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            return self._now_ns

    def turn(self, ns: int) -> None:
        with self._lock:
            self._now_ns += ns


class Stage:
    """Records what happened, in order; a step waits until the test permits it, unless the stage is
    open.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[str] = []
        self._permits = 0
        self._is_open = False

    def note(self, event: str) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def pass_gate(self) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: self._is_open or self._permits > 0, LIVENESS_SECONDS
            )
            self._permits -= not self._is_open

    def permit(self, steps: int = 1) -> None:
        with self._changed:
            self._permits += steps
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait(self, event: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: event in self._events, LIVENESS_SECONDS), (
                event,
                self._events,
            )

    @property
    def events(self) -> list[str]:
        with self._changed:
            return list(self._events)


@dataclass(eq=False)
class SteppedJob:
    """A step notes 'id?n' when it begins, waits at the gate, and notes 'id:n'; the end notes 'id
    finished' or 'id ErrorName'.
    """

    id: str
    stage: Stage
    priority: Priority = Priority.QUESTION
    key: str = ''
    max_preemption_ns: int | None = None
    deadline_ns: int | None = None
    is_ready: bool = True
    step_count: int = 2
    in_step: Callable[[int], None] = lambda number: None
    ends: list[PenguinError | None] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    is_holding: bool = False
    freed_by: str = ''

    def steps(self) -> Generator[None, None, None]:
        self.is_holding = True
        try:
            for number in range(self.step_count):
                self.stage.note(f'{self.id}?{number}')
                self.stage.pass_gate()
                self.in_step(number)
                self.stage.note(f'{self.id}:{number}')
                yield
        finally:
            self.is_holding, self.freed_by = False, threading.current_thread().name

    def finish(self) -> None:
        self._end(None)

    def abort(self, error: PenguinError) -> None:
        self._end(error)

    def _end(self, error: PenguinError | None) -> None:
        self.ends.append(error)
        self.threads.append(threading.current_thread().name)
        self.stage.note(
            f'{self.id} finished' if error is None else f'{self.id} {type(error).__name__}'
        )


class SteppedScheduler:
    """A running scheduler with a stage, a clock, and what was logged."""

    def __init__(self, queue_length: int = 4, slots: int = 4) -> None:
        self.stage, self.clock = Stage(), FakeClock()
        self.logged: list[tuple[str, BaseException]] = []
        self.scheduler = Scheduler(
            queue_length, self.clock, lambda what, error: self.logged.append((what, error))
        )
        self.scheduler.start(lambda: slots, lambda: self.stage.note('backend closed'))
        self.scheduler.wait_open()

    def job(self, job_id: str, **facts: Any) -> SteppedJob:
        return SteppedJob(job_id, self.stage, **facts)

    def submit(self, job_id: str, **facts: Any) -> SteppedJob:
        job = self.job(job_id, **facts)
        self.scheduler.submit(job)
        return job

    def caption(self, job_id: str, key: str = 'front', **facts: Any) -> SteppedJob:
        return self.submit(job_id, priority=Priority.CAPTION, key=key, **facts)

    def rule(self, job_id: str, key: str = 'front', **facts: Any) -> SteppedJob:
        return self.submit(job_id, priority=Priority.RULE, key=key, **facts)

    def wait(self, event: str) -> None:
        self.stage.wait(event)


@contextmanager
def stepped_scheduler(**facts: Any) -> Iterator[SteppedScheduler]:
    stepped = SteppedScheduler(**facts)
    try:
        yield stepped
    finally:
        stepped.stage.open()
        assert stepped.scheduler.close(LIVENESS_SECONDS)


def steps_done(stepped: SteppedScheduler) -> list[str]:
    return [event for event in stepped.stage.events if ':' in event]


def raising(error: BaseException) -> Callable[[int], None]:
    def in_step(number: int) -> None:
        raise error

    return in_step
