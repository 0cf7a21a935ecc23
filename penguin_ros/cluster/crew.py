# SPDX-License-Identifier: Apache-2.0
"""What does the work of an index on other machines, as a protocol, so that the plan is tested
without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from penguin_ros.cluster.spans import RecordingFacts, RecordingPlace, Span, SpanCaptions

Task = RecordingPlace | Span
Result = RecordingFacts | SpanCaptions
Ending = Literal['done', 'lost', 'failed']


@dataclass(frozen=True)
class Outcome:
    """What became of a task: `result` when it is done; `why` when the captioner that had it was
    lost, or failed before it came to the task.
    """

    task: Task
    ending: Ending
    result: Result | None = None
    why: str = ''


class Crew(Protocol):
    """Captioners, each with one task at a time; some come and some die."""

    @property
    def idle(self) -> Sequence[str]:
        """The names of those that could take a task now."""

    def give(self, captioner: str, task: Task) -> None:
        """Gives a task to one that is idle."""

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        """Returns what has ended, after `timeout_s` at the latest."""

    def close(self) -> None:
        """Sends all home."""
