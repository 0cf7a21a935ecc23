# SPDX-License-Identifier: Apache-2.0
"""Guesses how a text goes on by following another one that it resembles (n-gram or prompt lookup).

The guess is what stands next in the text that is followed. Where the two part, the longest run of
last tokens that stands in the followed text too says where to go on. No guess has to be right:
every one is verified before it counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

LONGEST_MATCH = 4
"""Runs of tokens are told apart up to this length."""

_PLACES = 64
"""How many places of one token are remembered; the newest ones are."""


class PromptLookup:
    """Follows one text. `match_length`: how many tokens before the guess agree, 0 .. LONGEST_MATCH.

    `name` tells kinds of sources apart. `shortest_match`: a run of fewer tokens leads nowhere.
    With `is_previous` the text is an earlier version of the new one: it is followed from its
    beginning, and a token that agrees with nothing took the place of one. Without, the new text is
    added to it, since texts quote themselves.
    """

    def __init__(
        self, name: str, text: Iterable[int], shortest_match: int, is_previous: bool
    ) -> None:
        self.name = name
        self._shortest_match = shortest_match
        self._is_previous = is_previous
        self._text: list[int] = []
        self._places: dict[int, deque[int]] = {}  # token id: the indices after its occurrences
        for token_id in text:
            self._append(token_id)
        self._recent: deque[int] = deque(maxlen=LONGEST_MATCH)  # of the new text
        self._next: int | None = 0 if is_previous else None
        self.match_length = LONGEST_MATCH if is_previous else 0

    def guess(self, count: int) -> list[int]:
        """Returns up to `count` tokens that may come next, none when nothing is followed or its
        end is reached.
        """
        if self._next is None:
            return []
        guessed = self._text[self._next : self._next + count]
        while guessed and not self._is_previous and len(guessed) < count:
            # The text grows: it is copied past its end, as a repetition goes on.
            guessed.append(guessed[self._next - len(self._text)])
        return guessed

    def add(self, token_id: int) -> None:
        """Tells the source that the new text goes on with `token_id`."""
        self._recent.append(token_id)
        if self.guess(1) == [token_id] and self._next is not None:
            self._next += 1
            self.match_length = min(self.match_length + 1, LONGEST_MATCH)
        else:
            self._find()
        if not self._is_previous:
            self._append(token_id)

    def _find(self) -> None:
        """Goes on where the longest run stands; of equally long ones, at the place nearest to the
        one before, or at the last one in a text that grows.
        """
        expected = len(self._text)
        if self._next is not None and self._is_previous:
            expected = self._next + 1
        found = [
            (self._run_length(place), -abs(place - expected), place)
            for place in self._places.get(self._recent[-1], ())
        ]
        length, _, place = max(found, default=(0, 0, 0))
        if length >= self._shortest_match:
            self._next, self.match_length = place, length
        else:
            self._next, self.match_length = (expected if self._is_previous else None), 0

    def _run_length(self, place: int) -> int:
        """Returns how many of the recent tokens stand before `place` too."""
        length = 0
        for back, token_id in enumerate(reversed(self._recent), 1):
            if back > place or self._text[place - back] != token_id:
                break
            length = back
        return length

    def _append(self, token_id: int) -> None:
        self._text.append(token_id)
        self._places.setdefault(token_id, deque(maxlen=_PLACES)).append(len(self._text))
