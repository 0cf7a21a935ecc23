# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench engine` runs and what comes of it, as values.

A round is one measurement of one target. This file imports nothing of its room but `tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.benchmark.tasks import Target, TargetError


@dataclass(frozen=True)
class EngineTask:
    """One round of one target.

    `position` tokens come before the first of the `steps` that are decoded there; 0 takes the
    default, or as many as fit. `max_tokens` limits the answer to the stored clip. `is_short` asks
    for one image and its answer only. `arrays` is the file that features and logits are written to,
    or ''. `teacher` is such a file of the other target, whose tokens are fed instead of its own.
    """

    target: Target
    position: int = 0
    steps: int = 32
    max_tokens: int = 32
    is_short: bool = False
    arrays: str = ''
    teacher: str = ''


@dataclass(frozen=True)
class Round:
    """What one round gave.

    `facts` do not change from round to round; `samples` are seconds, bytes and bytes per second.
    `tokens` are those of the answer to the stored input, `text` is their text up to the first stop
    token.
    """

    error: TargetError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, float] = field(default_factory=dict)
    tokens: tuple[int, ...] = ()
    text: str = ''


EngineRunner = Callable[[EngineTask], Round]


@dataclass(eq=False)
class TargetRun:
    """A target with its rounds so far, and the `error` of the first one that failed; after that the
    target is left alone.
    """

    target: Target
    rounds: list[Round] = field(default_factory=list)
    error: TargetError | None = None

    def add(self, result: Round) -> None:
        """Adds one more round, or notes why there will be none."""
        if result.error is None:
            self.rounds.append(result)
        else:
            self.error = result.error


@dataclass(frozen=True)
class EngineBenchSettings:
    """How often each target is measured, the `task` of a round (its target aside), and the number
    of `threads` that read memory when its bandwidth is measured.
    """

    rounds: int
    task: EngineTask
    threads: int


def task_from(plain: Mapping[str, Any]) -> EngineTask:
    """Makes a task from the JSON of one."""
    return EngineTask(**{**plain, 'target': Target(**plain['target'])})
