# SPDX-License-Identifier: Apache-2.0
"""Chooses which tokens to verify in the next pass of one generation.

A pass over S positions yields one token for sure and one more for each drafted token that is right.
The draft is as long as makes the expected time per token least, and empty when no draft beats a
plain step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import LOOKUP, PREVIOUS, PromptHistory
from penguin_ros.generation.speculative.prompt_lookup import LONGEST_MATCH, PromptLookup
from penguin_ros.model_inputs import ModelInputs

PASS_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of positions of a pass that are considered; few, so that each is measured soon."""

_LEAST_GAIN = 0.95
"""A draft must bring the time per token below this share of a plain step's: estimates are not
exact.
"""


def drafter_for(
    params: SamplingParams, inputs: ModelInputs, history: PromptHistory | None
) -> Drafter | None:
    """Makes the drafter of one generation; None where nothing is to be drafted."""
    max_tokens = params.sampling.draft_tokens
    if history is None or not max_tokens:
        return None
    ids = inputs.prompt.token_ids
    text_ids = ids[ids != inputs.image_token_id].tolist()
    return Drafter(history, text_ids, params.stop_token_ids, max_tokens)


class Drafter:
    """Drafts for one generation, `max_tokens` at a time at most, from the previous text of the
    prompt's history and from the prompt.

    `prompt`: its text tokens. A draft ends with the first of `stop_token_ids`: nothing comes after
    it.
    """

    def __init__(
        self,
        history: PromptHistory,
        prompt: Iterable[int],
        stop_token_ids: Collection[int],
        max_tokens: int,
    ) -> None:
        self._costs = history.costs
        self._acceptance = history.acceptance
        self._stop_token_ids = frozenset(stop_token_ids)
        self._max_tokens = max_tokens
        self._sources = [PromptLookup(LOOKUP, prompt, shortest_match=2, is_previous=False)]
        if history.previous:
            previous = PromptLookup(PREVIOUS, history.previous, shortest_match=1, is_previous=True)
            self._sources.insert(0, previous)

    def draft(self, tokens_left: int) -> list[int]:
        """Returns what to verify next when `tokens_left` more tokens may come; the pass itself
        gives one more than it verifies.
        """
        longest = min(self._max_tokens, tokens_left - 1)
        guesses = [(source, self._cut(source.guess(longest))) for source in self._sources]
        options = [
            (*self._best_length(source, len(guess)), guess) for source, guess in guesses if guess
        ]
        time, length, guess = min(options, key=lambda option: option[0], default=(0.0, 0, []))
        return guess[:length] if length and time < _LEAST_GAIN * self._costs.cost(1) else []

    def add(self, token_ids: Sequence[int]) -> None:
        """Tells the drafter how the text goes on."""
        for token_id in token_ids:
            for source in self._sources:
                if guess := source.guess(1):
                    is_right = guess[0] == token_id
                    self._acceptance.note(source.name, source.match_length, is_right)
                source.add(token_id)

    def note_pass(self, num_tokens: int, duration_ns: int) -> None:
        """Notes what a pass over `num_tokens` positions took, with all that belongs to it."""
        self._costs.note(num_tokens, duration_ns)

    def _cut(self, guess: list[int]) -> list[int]:
        for index, token_id in enumerate(guess, 1):
            if token_id in self._stop_token_ids:
                return guess[:index]
        return guess

    def _best_length(self, source: PromptLookup, longest: int) -> tuple[float, int]:
        """Returns the least expected time per token, and the length of the draft that gives it."""
        survival, expected, best = 1.0, 1.0, (float('inf'), 0)
        for length in range(1, longest + 1):
            match_length = min(source.match_length + length - 1, LONGEST_MATCH)
            survival *= self._acceptance.rate(source.name, match_length)
            expected += survival
            if length + 1 in PASS_SIZES or length == longest:
                best = min(best, (self._costs.cost(length + 1) / expected, length))
        return best
