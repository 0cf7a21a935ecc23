# SPDX-License-Identifier: Apache-2.0
"""Drafts of every kind, right and wrong, for the tests of what verifies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.generation.speculative.drafter import Drafter

Draft = Callable[[int, int], Sequence[int]]
"""From the number of tokens that the text has and the most that a draft may have to the draft."""


class GivenDrafts(Drafter):
    """Gives these drafts, whatever they cost; `passes`: number of positions of each pass."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(PromptHistory(), (), (), 63)
        self._draft, self._taken = draft, 0
        self.passes: list[int] = []

    def draft(self, tokens_left: int) -> list[int]:
        return list(self._draft(self._taken, min(tokens_left - 1, 63)))[: tokens_left - 1]

    def add(self, token_ids: Sequence[int]) -> None:
        self._taken += len(token_ids)

    def note_pass(self, num_tokens: int, duration_ns: int) -> None:
        self.passes.append(num_tokens)


def drafts_of(truth: Sequence[int], stop: int, vocabulary: int, seed: int) -> dict[str, Draft]:
    """Returns kinds of drafts, by name, for a text that will be `truth`."""
    random = np.random.default_rng(seed)

    def noise(count: int) -> list[int]:
        return [int(token_id) for token_id in random.integers(0, vocabulary, count)]

    def partly(start: int, longest: int) -> list[int]:
        right = list(truth[start : start + longest])
        return [
            token_id if random.random() < 0.8 else noise(1)[0]
            for token_id in right[: random.integers(0, 17)]
        ]

    def with_stop(start: int, longest: int) -> list[int]:
        right = list(truth[start : start + longest])
        right.insert(int(random.integers(0, len(right) + 1)), stop)
        return right

    return {
        'perfect': lambda start, longest: truth[start : start + longest],
        'perfect but short': lambda start, longest: truth[start : start + 2],
        'perfect and then noise': lambda start, longest: [
            *truth[start : start + random.integers(0, 9)],
            *noise(4),
        ],
        'partly right': partly,
        'random': lambda start, longest: noise(int(random.integers(1, 17))),
        'shifted by one': lambda start, longest: truth[start + 1 : start + 9],
        'with a stop token': with_stop,
        'always the same token': lambda start, longest: [truth[start - 1]] * 8,
        'none': lambda start, longest: (),
    }
