# SPDX-License-Identifier: Apache-2.0
"""Captions on a machine whose passes take what a formula says: how long they take with drafts, in
plain steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.generation.speculative.drafter import Drafter

PLAIN_NS = 100_000_000
STOP = 0

Costs = Callable[[int], float]
"""From the number of positions of a pass to its time, in plain steps."""


def two_cores(size: int) -> float:
    """Returns about what a 2B network in int4 takes on two CPU cores."""
    return 1 + 0.24 * (size - 1)


class Machine:
    """Makes captions and measures them. `passes`: number of positions of every pass until now."""

    def __init__(self, costs: Costs, max_tokens: int = 15, seed: int = 0) -> None:
        self.costs, self.passes = costs, list[int]()
        self._max_tokens, self._random = max_tokens, np.random.default_rng(seed)
        self.history = PromptHistory()

    def caption(self, text: Sequence[int], noise: float = 0.0) -> float:
        """Returns the time per token after the first one, in plain steps; `noise`: how far the time
        of a pass may be off.
        """
        whole = [*text, STOP]
        drafter = Drafter(self.history, (), (STOP,), self._max_tokens)
        drafter.add(whole[:1])
        done, time = 1, 0.0
        while done < len(whole):
            draft = drafter.draft(200 - done)
            assert len(draft) <= self._max_tokens
            right = next(
                (count for count, token_id in enumerate(draft) if token_id != whole[done + count]),
                len(draft),
            )
            taken = whole[done : done + right + 1]
            took = self.costs(1 + len(draft)) * (1 + noise * self._random.random())
            drafter.note_pass(1 + len(draft), round(took * PLAIN_NS))
            drafter.add(taken)
            self.passes.append(1 + len(draft))
            done, time = done + len(taken), time + took
        self.history.previous = tuple(whole)
        return time / (len(whole) - 1)


def words(seed: int, count: int = 60) -> list[int]:
    """Returns a text of its own, with frequent words, as a language has."""
    random = np.random.default_rng(seed)
    return [int(token_id) for token_id in np.minimum(random.zipf(1.3, count), 5000)]


def changed(text: Sequence[int], share: float, seed: int) -> list[int]:
    """Returns the text with that share of its tokens replaced."""
    random = np.random.default_rng(seed)
    return [
        int(random.integers(6000, 9000)) if random.random() < share else token_id
        for token_id in text
    ]
