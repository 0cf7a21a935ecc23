# SPDX-License-Identifier: Apache-2.0
"""Remembers the last text given to each prompt, and how well it foretold the one after it. Knows no cameras: keys are opaque."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from penguin_ros.generation.draft_acceptance import Acceptance
from penguin_ros.generation.draft_costs import StepCosts
from penguin_ros.generation.progress import Progress
from penguin_ros.request import StopReason

MAX_TEXTS, MAX_TOKENS = 64, 512
"""Texts remembered, the longest unused goes first; tokens kept of each, from its beginning."""


@dataclass(eq=False)
class DraftRecord:
    """What is known before a text is generated: tokens of the `previous` one, how often guesses were right, what passes cost."""

    previous: tuple[int, ...] = ()
    acceptance: Acceptance = field(default_factory=Acceptance)
    costs: StepCosts = field(default_factory=StepCosts)


class DraftMemory:
    """Of one loaded model; worker thread only. All records share the costs, which are the machine's."""

    def __init__(self) -> None:
        self._costs = StepCosts()
        self._records: OrderedDict[Hashable, DraftRecord] = OrderedDict()

    def record(self, key: Hashable) -> DraftRecord:
        """That of a prompt, a new one when it is not remembered."""
        record = self._records.setdefault(key, DraftRecord(costs=self._costs))
        self._records.move_to_end(key)
        while len(self._records) > MAX_TEXTS:
            self._records.popitem(last=False)
        return record

    def keep(self, record: DraftRecord, progress: Progress) -> None:
        """The text that was generated with `record`; one that was cut short replaces a shorter one only."""
        if progress.stop_reason is not StopReason.NONE or len(progress.token_ids) > len(record.previous):
            record.previous = tuple(progress.token_ids[:MAX_TOKENS])
