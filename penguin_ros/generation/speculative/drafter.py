# SPDX-License-Identifier: Apache-2.0
"""Chooses which tokens to verify in the next pass of one generation. Knows sources, rates and
costs, not the model.

A pass over S positions yields one token for sure and one more for each drafted token that is right.
The draft is as long as makes the expected time per token least, and empty when none beats a plain
step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import LOOKUP, PREVIOUS, PromptHistory
from penguin_ros.generation.speculative.prompt_lookup import STRONGEST, PromptLookup
from penguin_ros.model_inputs import ModelInputs

ROWS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Positions of a pass that are considered; few, so that each is measured soon."""

_LEAST_GAIN = 0.95
"""A draft must bring the time per token below this share of a plain step's: estimates are not
exact.
"""


class Drafter:
    """Drafts for one generation, `max_tokens` at a time at most, from the record's previous text
    and from the prompt's.

    `prompt`: its text tokens. A draft ends with the first of `stop_token_ids`: nothing comes after
    it.
    """

    def __init__(
        self,
        record: PromptHistory,
        prompt: Iterable[int],
        stop_token_ids: Collection[int],
        max_tokens: int,
    ) -> None:
        self._costs, self._acceptance = record.costs, record.acceptance
        self._stop_token_ids, self._max_tokens = frozenset(stop_token_ids), max_tokens
        self._sources = [PromptLookup(LOOKUP, prompt, 2, False)]
        if record.previous:
            self._sources.insert(0, PromptLookup(PREVIOUS, record.previous, 1, True))

    def draft(self, room: int) -> list[int]:
        """What to verify next, when `room` more tokens may come; the pass itself gives one more
        than it verifies.
        """
        guesses = [
            (source, self._cut(source.guess(min(self._max_tokens, room - 1))))
            for source in self._sources
        ]
        options = [
            (*self._best_length(source, len(guess)), guess) for source, guess in guesses if guess
        ]
        time, length, guess = min(options, key=lambda option: option[0], default=(0.0, 0, []))
        return guess[:length] if length and time < _LEAST_GAIN * self._costs.cost(1) else []

    def add(self, token_ids: Sequence[int]) -> None:
        """The text goes on with these."""
        for token_id in token_ids:
            for source in self._sources:
                if guess := source.guess(1):
                    self._acceptance.note(source.name, source.match_length, guess[0] == token_id)
                source.add(token_id)

    def note_pass(self, rows: int, duration_ns: int) -> None:
        """A pass over `rows` positions was run, with all that belongs to it."""
        self._costs.note(rows, duration_ns)

    def _cut(self, guess: list[int]) -> list[int]:
        end = next(
            (index for index, token_id in enumerate(guess, 1) if token_id in self._stop_token_ids),
            len(guess),
        )
        return guess[:end]

    def _best_length(self, source: PromptLookup, longest: int) -> tuple[float, int]:
        """The least expected time per token, and the length that gives it."""
        survival, expected, best = 1.0, 1.0, (float('inf'), 0)
        for length in range(1, longest + 1):
            survival *= self._acceptance.rate(
                source.name, min(source.match_length + length - 1, STRONGEST)
            )
            expected += survival
            if length + 1 in ROWS or length == longest:
                best = min(best, (self._costs.cost(length + 1) / expected, length))
        return best


def drafter_for(limits: SamplingParams, inputs: ModelInputs) -> Drafter | None:
    """For one generation; None where nothing is to be drafted."""
    max_tokens = limits.sampling.draft_tokens
    if limits.drafts is None or not max_tokens:
        return None
    ids = inputs.prompt.token_ids
    return Drafter(
        limits.drafts, ids[ids != inputs.image_token_id].tolist(), limits.stop_token_ids, max_tokens
    )
