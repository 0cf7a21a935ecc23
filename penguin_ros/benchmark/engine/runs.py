# SPDX-License-Identifier: Apache-2.0
"""Rounds of the sides of `penguin bench engine`, in turns, and the memory bandwidth measured
between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penguin_ros.benchmark.tasks import Round, Runner, Target, TargetError, Task
from penguin_ros.console import status_line


@dataclass(eq=False)
class TargetRun:
    """A side with its rounds so far; `error` of the first that failed, after which it is left
    alone.
    """

    target: Target
    rounds: list[Round] = field(default_factory=list)
    error: TargetError | None = None

    def add(self, result: Round) -> None:
        """One more round, or why there will be none."""
        if result.error is None:
            self.rounds.append(result)
        else:
            self.error = result.error


@dataclass(frozen=True)
class Plan:
    """What is asked for; `threads` of the measurement of the memory bandwidth."""

    rounds: int
    task: Task
    threads: int


def measure(targets: Sequence[TargetRun], plan: Plan, folder: Path, runner: Runner) -> float:
    """Fills the sides; the memory bandwidth, bytes per second, best of what was measured before
    each round and at the end.

    The side that is compared with goes first: its tokens are fed to the other one, in the first
    round.
    """
    from penguin_ros.benchmark.machine import read_bandwidth

    bandwidth = 0.0
    for index in range(plan.rounds):
        bandwidth = max(bandwidth, read_bandwidth(plan.threads))
        for number, each in reversed(list(enumerate(targets))):
            if each.error is None:
                status_line(f'round {index + 1} of {plan.rounds}: {each.target.name}')
                each.add(runner(_task(plan, targets, number, index == 0, folder)))
    return max(bandwidth, read_bandwidth(plan.threads))


def arrays_of(folder: Path, number: int) -> Path:
    """Where a side leaves what it is compared by."""
    return folder / f'{number}.npz'


def _task(
    plan: Plan, targets: Sequence[TargetRun], number: int, is_first: bool, folder: Path
) -> Task:
    wants_arrays = is_first and len(targets) > 1
    teacher = arrays_of(folder, 1)
    return Task(
        targets[number].target,
        plan.task.position,
        plan.task.steps,
        plan.task.max_tokens,
        arrays=str(arrays_of(folder, number)) if wants_arrays else '',
        teacher=str(teacher) if wants_arrays and number == 0 and teacher.is_file() else '',
    )
