# SPDX-License-Identifier: Apache-2.0
"""One part of `penguin bench live`: what it runs, in a process of its own, and the plain values
that come of it.

A part that dies takes nothing else with it, and the memory that is counted is its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from penguin_ros.benchmark.tasks import Target, TargetError, process_record

CLIP, SLIDE, CAPTIONS, INTERRUPT = 'clip', 'slide', 'captions', 'interrupt'
CASES = {
    CLIP: 'cold clip, second and tenth question on it, 1 to 7 frames appended, and what verifying drafts costs',
    SLIDE: 'slide by 1 of 8 frames of equal size',
    CAPTIONS: 'a caption every second of a scene that stands and of one that changes; drafts and gate on and off',
    INTERRUPT: 'a question while a caption runs',
}
GROWTH = 'growth'
"""First tokens as the clip grows, for the picture."""

LIMIT_S = 3600.0


@dataclass(frozen=True)
class LiveTask:
    """`cases` of one model; `tokens` of each text, 0: it ends by itself; (`width`, `height`) of the
    pictures; `video`: scenes of the captions, '': simulated. `rounds`, `captions` of a scene: 0: as
    many as suit the model's speed.
    """

    target: Target
    cases: tuple[str, ...]
    rounds: int = 0
    tokens: int = 0
    width: int = 640
    height: int = 360
    captions: int = 0
    video: str = ''

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


Record = dict[str, Any]
LiveRunner = Callable[[LiveTask], Record]


def run_here(task: LiveTask) -> Record:
    """In this process; whatever goes wrong is the record's `error`."""
    from penguin_ros.benchmark.live.interrupt import interrupt_record
    from penguin_ros.benchmark.live.texts import texts_record

    try:
        return {
            'error': None,
            **(interrupt_record(task) if INTERRUPT in task.cases else texts_record(task)),
        }
    except Exception as error:
        return failed(TargetError.of(error))


def run_apart(task: LiveTask) -> Record:
    """In a process of its own, which is ended after LIMIT_S."""
    record = process_record(__name__, asdict(task), task.target.name, LIMIT_S)
    return failed(record) if isinstance(record, TargetError) else record


def failed(error: TargetError) -> Record:
    """The record of a part that did not run."""
    return {'error': asdict(error)}


def task_from(plain: Record) -> LiveTask:
    """Of its JSON."""
    return LiveTask(**{**plain, 'side': Target(**plain['side']), 'cases': tuple(plain['cases'])})


def main() -> None:
    """The process of one part: takes a LiveTask as JSON, prints a record as JSON."""
    print(json.dumps(run_here(task_from(json.loads(sys.argv[1])))), flush=True)


if __name__ == '__main__':
    main()


@dataclass(eq=False)
class ModelRun:
    """A model and what came of it; `record['error']` where it failed."""

    target: Target
    is_default: bool
    record: Record
