# SPDX-License-Identifier: Apache-2.0
"""Runs the steps one after the other, each in a process of its own with a time limit, and hands the
results over after each of them. A step that crashes, hangs or is killed is a result like any other;
the steps that need it are skipped with the reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penguin_ros.board.result import DONE, FAILED, SKIPPED, Results, StepResult
from penguin_ros.board.sizes import BoardSizes
from penguin_ros.board.step_process import Outcome, read_outcome, write_order
from penguin_ros.board.steps import STEPS, Step, StepOrder

PROGRAM = (sys.executable, '-m', 'penguin_ros.board.step_process')
LAST_WORDS = 300
"""Characters shown of what a process wrote at its end when it left no reason."""


@dataclass(frozen=True)
class BoardRequest:
    """What is asked for: the folder of a bundle, '' for none; `folder` to write large files in; the
    names of the steps, empty for all. `program` is what runs a step. `against` and `max_length`:
    see StepOrder.
    """

    bundle: str = ''
    folder: Path = Path()
    sizes: BoardSizes = BoardSizes()
    steps: tuple[str, ...] = ()
    program: Sequence[str] = field(default=PROGRAM)
    limit_factor: float = 1.0
    against: str = ''
    max_length: int = 0

    @property
    def chosen(self) -> tuple[Step, ...]:
        """The steps in their order."""
        return tuple(step for step in STEPS if not self.steps or step.name in self.steps)


def run_steps(
    request: BoardRequest,
    save: Callable[[Results], None] = lambda results: None,
    show: Callable[[Step], None] = lambda step: None,
    known: Results | None = None,
) -> dict[str, StepResult]:
    """Runs what was asked for and is not `known`. `save` gets all results after each step, `show`
    each step before it runs.
    """
    results: dict[str, StepResult] = dict(known or {})
    with tempfile.TemporaryDirectory(prefix='penguin_board_', dir=request.folder) as folder:
        for step in request.chosen:
            if step.name in results:
                continue
            why = _reason_to_skip(step, request, results)
            if why:
                results[step.name] = StepResult(step.name, SKIPPED, why=why)
            else:
                show(step)
                results[step.name] = run_apart(step, request, results, Path(folder))
            save(results)
    return results


def _reason_to_skip(step: Step, request: BoardRequest, results: Results) -> str:
    if step.has_bundle and not request.bundle:
        return 'no bundle was given'
    if step.has_other and not request.against:
        return 'no other bundle was given (--against BUNDLE)'
    if step.name == 'soak' and not request.sizes.soak_s:
        return 'not asked for (--soak MINUTES)'
    for name in step.needs:
        needed = results.get(name)
        if needed is not None and needed.state != DONE:
            return f'{name} {"failed" if needed.state == FAILED else "was skipped"}'
    return ''


def run_apart(step: Step, request: BoardRequest, results: Results, folder: Path) -> StepResult:
    """Runs one step in a process of its own; its process group ends with it."""
    facts = {name: result.facts for name, result in results.items()}
    order = StepOrder(
        step.name,
        request.bundle,
        str(folder),
        request.sizes,
        facts,
        request.against if step.has_other else '',
        request.max_length if step.has_other else 0,
    )
    paths = [folder / f'{step.name}.{name}.json' for name in ('order', 'outcome')]
    write_order(order, paths[0])
    limit = step.limit_s * request.limit_factor
    if step.name == 'soak':
        limit += request.sizes.soak_s
    start = time.monotonic()
    with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as words:
        process = subprocess.Popen(
            [*request.program, *map(str, paths)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        words.seek(0)
        last = words.read().strip()[-LAST_WORDS:]
    outcome = read_outcome(paths[1]) or Outcome()
    seconds = time.monotonic() - start
    why, fix = _ending(outcome, code, limit, last)
    state = FAILED if why else DONE
    return StepResult(step.name, state, round(seconds, 1), why, fix, outcome.facts)


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Ends the process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all of them are gone
        pass
    process.wait()


def _ending(outcome: Outcome, code: int | None, limit: float, last: str) -> tuple[str, str]:
    """Says why a step failed, and what to do; two empty texts when it did not."""
    if outcome.is_finished:
        return outcome.error, outcome.fix
    if code is None:
        return f'it took more than {limit:.0f} s and was ended', ''
    if code == -signal.SIGKILL:
        return (
            'it was killed (signal 9): most often memory ran out',
            'Close other programs, run without a desktop '
            '(sudo systemctl isolate multi-user.target), and see dmesg',
        )
    how = f'signal {-code} ended it' if code < 0 else f'exit code {code}'
    return f'its process ended without a result: {how}; {last}'.rstrip('; '), ''
