# SPDX-License-Identifier: Apache-2.0
"""Appends to one KV slot and takes the tokens that follow: one, or several when a draft is verified. Knows no frames.

A draft is verified by one pass over its tokens: each position's token is chosen as it would be without a draft, from the same
logits with the same random numbers, and counts as long as all drafted ones before it were chosen too. So a draft changes nothing
but the time, to the rounding of passes over different numbers of positions, for greedy decoding and for sampling.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from penguin_ros.backends.base import Best, Chunk, Logits
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.chooser import Chooser
from penguin_ros.generation.drafter import Drafter
from penguin_ros.generation.keyed_slot import KeyedSlot
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.progress import Step


class Decoding:
    """Of one generation; whenever a step is over the slot holds the prompt and tokens of the text, and no rejected draft."""

    def __init__(self, slot: KeyedSlot, limits: Limits, chooser: Chooser, drafter: Drafter | None) -> None:
        self._slot, self._chooser, self._drafter = slot, chooser, drafter
        # Then the backend may choose where the logits are.
        self._is_greedy = limits.sampling.temperature <= 0.0 and not limits.keep_logits

    def first(self, chunk: Chunk) -> Step:
        """Appends the last chunk of a prompt and takes the token after it."""
        return self._taken(self._chooser.step('prefill', self._append(chunk, 1)))

    def next(self, clock: Callable[[], int]) -> Step:
        """Appends the newest token, with a draft of those that may follow it, and takes those that do."""
        draft = self._drafter.draft(self._chooser.room) if self._drafter else []
        started = clock()
        step = self._verified(draft)
        if self._drafter:
            self._drafter.note_pass(1 + len(draft), clock() - started)
        return self._taken(step)

    def _verified(self, draft: Sequence[int]) -> Step:
        """A step of one pass; of a second one where a drafted token spoils the logits before it, as NaN in a pass may."""
        held, newest = self._slot.length, self._chooser.progress.token_ids[-1]
        results = self._append(Chunk(np.array([newest, *draft], np.int64)), 1 + len(draft))
        kept = held
        try:
            step = self._chooser.step('decode', results, draft)
            kept += len(step.token_ids)
            return step
        except InvalidLogits:
            if not draft:
                raise
        finally:  # of any error too
            if draft and kept < self._slot.length:
                self._slot.truncate(kept)
        return self._verified(())

    def _append(self, chunk: Chunk, count: int) -> Sequence[Best] | Logits:
        """Appends `chunk`; what is known of the token after each of its last `count` positions."""
        if not self._is_greedy:
            return self._slot.forward(chunk, range(-count, 0))
        if count == 1:
            return [self._slot.forward_best(chunk)]
        return self._slot.forward_best_each(chunk, range(-count, 0))

    def _taken(self, step: Step) -> Step:
        if self._drafter:
            self._drafter.add(step.token_ids)
        return step
