# SPDX-License-Identifier: Apache-2.0
"""The rounds of `penguin bench engine`: targets take turns, each round in a process of its own.

Since they take turns, two large models are never loaded at once, and a change of the machine's load
meets all targets. The bandwidth of the memory is measured between the rounds. This file is also the
program of one round: it takes an EngineTask as JSON and prints a Round as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from penguin_ros.benchmark.engine.tasks import (
    EngineBenchSettings,
    EngineRunner,
    EngineTask,
    Round,
    TargetRun,
    task_from,
)
from penguin_ros.benchmark.process import process_result
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.console import status_line


def measure_targets(
    targets: Sequence[TargetRun], settings: EngineBenchSettings, folder: Path, runner: EngineRunner
) -> float:
    """Adds the rounds to the targets; returns the bandwidth of the memory in bytes per second, the
    best of what was measured before each round and at the end.

    The target that others are compared with goes first: in the first round its tokens are fed to
    the other one.
    """
    from penguin_ros.benchmark.machine import read_bandwidth

    bandwidth = 0.0
    for index in range(settings.rounds):
        bandwidth = max(bandwidth, read_bandwidth(settings.threads))
        for number, each in reversed(list(enumerate(targets))):
            if each.error is None:
                status_line(f'round {index + 1} of {settings.rounds}: {each.target.name}')
                each.add(runner(_task(settings, targets, number, index == 0, folder)))
    return max(bandwidth, read_bandwidth(settings.threads))


def arrays_of(folder: Path, number: int) -> Path:
    """The file in which a target leaves the arrays that it is compared by."""
    return folder / f'{number}.npz'


def run_here(task: EngineTask) -> Round:
    """Runs a round in this process; whatever goes wrong becomes the round's error."""
    from penguin_ros.benchmark.engine.measures import measure_round

    try:
        return measure_round(task)
    except Exception as error:
        return Round(error=TargetError.of(error))


def run_apart(task: EngineTask, limit_s: float = 3600.0) -> Round:
    """Runs a round in a process of its own, which is ended after `limit_s`."""
    plain = process_result(__name__, asdict(task), task.target.name, limit_s)
    if isinstance(plain, TargetError):
        return Round(error=plain)
    error = plain['error']
    return Round(
        TargetError(**error) if error else None,
        plain['facts'],
        plain['samples'],
        tuple(plain['tokens']),
        plain['text'],
    )


def main() -> None:
    """The program of one round."""
    print(json.dumps(asdict(run_here(task_from(json.loads(sys.argv[1]))))), flush=True)


def _task(
    settings: EngineBenchSettings,
    targets: Sequence[TargetRun],
    number: int,
    is_first: bool,
    folder: Path,
) -> EngineTask:
    wants_arrays = is_first and len(targets) > 1
    teacher = arrays_of(folder, 1)
    return EngineTask(
        targets[number].target,
        settings.task.position,
        settings.task.steps,
        settings.task.max_tokens,
        arrays=str(arrays_of(folder, number)) if wants_arrays else '',
        teacher=str(teacher) if wants_arrays and number == 0 and teacher.is_file() else '',
    )


if __name__ == '__main__':
    main()
