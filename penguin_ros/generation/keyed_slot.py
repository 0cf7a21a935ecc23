# SPDX-License-Identifier: Apache-2.0
"""A KV slot of which every position is known. Knows a backend and keys, not which request uses it."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.backends.base import Backend, Best, Chunk, Logits
from penguin_ros.generation.position_keys import PositionKeys, common_length, no_keys, text_keys


class KeyedSlot:
    """All changes of the backend's slot `number` go through here, so that `keys` says what it holds, position by position.

    `is_sound` is False from the start of a call to the backend until it has succeeded, and for good when it failed or gave no
    numbers: what the slot holds then is not known, and it must not be used again.
    """

    def __init__(self, backend: Backend, number: int, keys: PositionKeys | None = None) -> None:
        self._backend, self.number = backend, number
        self._keys = no_keys() if keys is None else keys.copy()
        self._length = len(self._keys)
        self._plan = no_keys()
        self.is_sound = True

    @property
    def length(self) -> int:
        """Positions that it holds."""
        return self._length

    @property
    def keys(self) -> PositionKeys:
        """(length, 3): what it holds; a view."""
        return self._keys[:self._length]

    def begin(self, prompt: PositionKeys) -> None:
        """The prompt that it is to hold next, of which it already holds the beginning; what comes behind that is text."""
        if common_length(self.keys, prompt) < self._length:
            raise ValueError('the slot holds other positions than the prompt')
        self._plan = prompt

    def forward(self, chunk: Chunk, logits_at: Sequence[int] = ()) -> Logits:
        """See Backend."""
        self.is_sound = False
        logits = self._backend.forward(self.number, chunk, logits_at)
        self._note(chunk)
        return logits

    def forward_best(self, chunk: Chunk) -> Best:
        """See Backend."""
        self.is_sound = False
        best = self._backend.forward_best(self.number, chunk)
        self._note(chunk)
        return best

    def forward_best_each(self, chunk: Chunk, logits_at: Sequence[int]) -> list[Best]:
        """See Backend."""
        self.is_sound = False
        best = self._backend.forward_best_each(self.number, chunk, logits_at)
        self._note(chunk)
        return best

    def truncate(self, length: int) -> None:
        """See Backend."""
        was_sound, self.is_sound = self.is_sound, False
        self._backend.truncate(self.number, length)
        self._length, self.is_sound = length, was_sound

    def fork(self, length: int) -> KeyedSlot:
        """See Backend."""
        return KeyedSlot(self._backend, self._backend.fork(self.number, length), self._keys[:length])

    def free(self) -> None:
        """Gives the backend's slot back."""
        self._backend.free_slot(self.number)

    def _note(self, chunk: Chunk) -> None:
        end = self._length + len(chunk.token_ids)
        if end > len(self._keys):
            room = np.zeros((2 * end, 3), np.int64)
            room[:self._length] = self.keys
            self._keys = room
        planned = self._plan[self._length:end]
        self._keys[self._length:self._length + len(planned)] = planned
        self._keys[self._length + len(planned):end] = text_keys(chunk.token_ids[len(planned):])
        self._length, self.is_sound = end, True
