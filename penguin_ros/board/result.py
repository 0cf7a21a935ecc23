# SPDX-License-Identifier: Apache-2.0
"""What a step gave, and what that means in words, as values that go to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, SKIPPED = STATES = ('done', 'failed', 'skipped')
OK, NOTE, FAULT = 'ok', 'note', 'fault'

Facts = Mapping[str, Any]
"""What a step measured, as plain values by name."""


@dataclass(frozen=True)
class StepResult:
    """`state` is one of STATES; `why` says what failed, or why the step was skipped, and `fix` what
    to do. `facts` are also there when the step failed, as far as it came.
    """

    name: str
    state: str
    seconds: float = 0.0
    why: str = ''
    fix: str = ''
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """One judgement: `state` is OK, NOTE (worth knowing) or FAULT; `fix` is what to type."""

    topic: str
    state: str
    text: str
    fix: str = ''


Results = Mapping[str, StepResult]
"""The results so far by the name of their step."""


def facts_of(results: Results, name: str) -> Facts:
    """Returns what a step measured; nothing when it has not run."""
    return results[name].facts if name in results else {}
