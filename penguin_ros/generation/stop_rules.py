# SPDX-License-Identifier: Apache-2.0
"""The rules that end a text: stop token, repetition, maximum number of tokens.

Deadlines and cancelling are not rules of a text: they are thrown into the loop from outside.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from penguin_ros.request import StopReason

MAX_PERIOD = 64
"""The longest sequence of tokens whose repetition is seen."""


class StopRules:
    """All rules of one text; the first that holds wins, in the order stop token, repetition,
    maximum.
    """

    def __init__(self, stop_token_ids: Collection[int], max_tokens: int, max_repeats: int) -> None:
        self._stop_token_ids = frozenset(stop_token_ids)
        self._max_tokens = max_tokens
        self._repetition = Repetition(max_repeats)
        self._count = 0

    def add(self, token_id: int) -> StopReason:
        """Returns the reason to stop after `token_id`, NONE to go on."""
        self._count += 1
        if token_id in self._stop_token_ids:
            return StopReason.STOP_TOKEN
        if self._repetition.add(token_id):
            return StopReason.REPETITION
        return StopReason.MAX_TOKENS if self._count >= self._max_tokens else StopReason.NONE


class Repetition:
    """Sees when the tokens end in `max_repeats` copies of one sequence of 1 to MAX_PERIOD tokens.

    It makes MAX_PERIOD comparisons a token, whatever the length of the text. With `max_repeats`
    under 2 it sees nothing: what stands once repeats nothing.
    """

    def __init__(self, max_repeats: int) -> None:
        self._periods: NDArray[np.int64] = np.arange(1, MAX_PERIOD + 1)
        self._needed = (max_repeats - 1) * self._periods
        self._is_on = max_repeats >= 2
        # The newest token first: _recent[p - 1] stands p tokens back.
        self._recent = np.full(MAX_PERIOD, -1, np.int64)
        # For each period p: how many last tokens equal the one p tokens before them.
        self._runs = np.zeros(MAX_PERIOD, np.int64)

    def add(self, token_id: int) -> bool:
        """Returns whether the tokens, `token_id` the newest, end in a repetition."""
        if not self._is_on:
            return False
        self._runs = np.where(self._recent == token_id, self._runs + 1, 0)
        self._recent[1:] = self._recent[:-1].copy()
        self._recent[0] = token_id
        return bool((self._runs >= self._needed).any())
