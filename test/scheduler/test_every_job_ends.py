# SPDX-License-Identifier: Apache-2.0
"""Whatever is submitted, cancelled, delayed, failed or closed, each job ends exactly once and holds
nothing afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from support.stepped_jobs import LIVENESS_SECONDS, FakeClock

from penguin_ros.errors import Busy, DuplicateRequest, Inactive, OutOfMemory, PenguinError
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import WorkerState
from penguin_ros.scheduler.scheduler import Scheduler


@dataclass(eq=False)
class Work:
    """A job of `length` steps; every step turns the clock; the step `fails_at` raises."""

    id: str
    priority: Priority
    key: str
    deadline_ns: int | None
    clock: FakeClock
    length: int
    fails_at: int
    max_preemption_ns: int | None = None
    is_ready: bool = True
    ends: list[str] = field(default_factory=list)
    holds: int = 0

    def steps(self) -> Generator[None, None, None]:
        self.holds += 1
        try:
            for number in range(self.length):
                self.clock.turn(1)
                if number == self.fails_at:
                    raise OutOfMemory('full') if self.length % 2 else ValueError('odd')
                yield
        finally:
            self.holds -= 1

    def finish(self) -> None:
        self.ends.append('finished')

    def abort(self, error: PenguinError) -> None:
        self.ends.append(type(error).__name__)


Operation = tuple[str, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                'question',
                'rule',
                'caption',
                'cancel',
                'turn',
                'refuse',
                'accept',
                'end_all',
                'ready',
                'idle',
            ]
        ),
        st.integers(0, 7),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(
    OPERATIONS, st.integers(0, 2**16), st.sampled_from([0.0, LIVENESS_SECONDS]), st.integers(1, 4)
)
def test_each_job_ends_exactly_once(
    operations: list[Operation], seed: int, close_timeout: float, slots: int
) -> None:
    draw, clock = random.Random(seed), FakeClock()
    scheduler = Scheduler(3, clock, lambda what, error: None)
    scheduler.start(lambda: slots, lambda: None)
    scheduler.wait_open()
    taken: list[Work] = []
    refused: list[Work] = []
    for name, number in operations:
        if name in ('question', 'rule', 'caption'):
            deadline = clock() + draw.randrange(1, 60) if draw.random() < 0.5 else None
            work = Work(
                f'{name}-{number}',
                Priority[name.upper()],
                f'camera-{number % 3}',
                deadline,
                clock,
                draw.randrange(0, 30),
                draw.randrange(0, 60),
                max_preemption_ns=draw.choice([None, 5]) if name == 'caption' else None,
                is_ready=name != 'question' or draw.random() < 0.7,
            )
            try:
                scheduler.submit(work)
                taken.append(work)
            except (Busy, DuplicateRequest, Inactive):
                refused.append(work)
        elif name == 'cancel':
            scheduler.cancel(f'{draw.choice(["question", "rule", "caption"])}-{number}')
        elif name == 'turn':
            clock.turn(number * 10)
        elif name == 'refuse':
            scheduler.refuse(Inactive('refused'))
        elif name == 'accept':
            scheduler.accept()
        elif name == 'end_all':
            scheduler.end_all(Inactive('flushed'))
        else:
            for work in taken:
                work.is_ready = True
            scheduler.wake()
            assert name == 'ready' or scheduler.wait_idle(LIVENESS_SECONDS)
    scheduler.close(close_timeout)
    assert scheduler.close(LIVENESS_SECONDS)
    assert scheduler.worker().state is WorkerState.CLOSED, 'the worker itself has not failed'
    assert all(len(work.ends) == 1 and work.holds == 0 for work in taken), [
        (work.id, work.ends, work.holds) for work in taken
    ]
    assert all(work.ends == [] for work in refused)
    counts = scheduler.stats()
    ended = (
        counts.questions_finished
        + counts.questions_failed
        + counts.captions_finished
        + counts.captions_dropped
        + counts.rules_finished
        + counts.rules_dropped
    )
    assert ended == len(taken) and counts.questions_waiting == counts.captions_waiting == 0
