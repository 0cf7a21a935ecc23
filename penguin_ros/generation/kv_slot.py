# SPDX-License-Identifier: Apache-2.0
"""A KV slot of which every position is known. Knows a backend and keys, not which request uses it.

What stands at each position of a sequence, as numbers that can be compared. Knows prompts, not
slots.

Two sequences that agree in the keys of their first n positions have the same keys and values there:
a position depends on what stands at it and before it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Backend, Chunk, GreedyToken, Logits
from penguin_ros.model_inputs import ModelInputs

PrefixKeys = NDArray[np.int64]
"""(positions, 3): token id, 0, -1 for text; both halves of the frame's key and the row in it for a
visual token.
"""

_TEXT = -1


def no_keys() -> PrefixKeys:
    """Of an empty sequence."""
    return np.zeros((0, 3), np.int64)


def text_keys(token_ids: NDArray[np.int64]) -> PrefixKeys:
    """Of token ids (n,)."""
    keys = np.zeros((len(token_ids), 3), np.int64)
    keys[:, 0], keys[:, 2] = token_ids, _TEXT
    return keys


def prompt_keys(inputs: ModelInputs) -> PrefixKeys:
    """Of a prompt, every visual token told apart by its frame's content."""
    keys = text_keys(np.asarray(inputs.prompt.token_ids, np.int64))
    for start, frame in zip(inputs.prompt.image_starts, inputs.frames, strict=True):
        of_frame = keys[start : start + frame.tokens]
        of_frame[:, :2] = np.frombuffer(frame.key, np.int64)
        of_frame[:, 2] = np.arange(frame.tokens)
    return keys


def visual_end(inputs: ModelInputs) -> int:
    """Where the last frame of a prompt ends: what lies before is worth keeping for the next prompt;
    0 without frames.
    """
    if not inputs.frames:
        return 0
    return inputs.prompt.image_starts[-1] + inputs.frames[-1].tokens


def is_superseded(old: PrefixKeys, new: PrefixKeys) -> bool:
    """True when a prompt shows the last frame of an earlier one and further frames behind it: time
    has moved on.
    """
    shown, before = np.flatnonzero(new[:, 2] != _TEXT), np.flatnonzero(old[:, 2] != _TEXT)
    if not len(shown) or not len(before):
        return False
    is_last = (new[shown, :2] == old[before[-1], :2]).all(axis=1)
    return bool(is_last.any() and not is_last[-1])


def shared_prefix_length(first: PrefixKeys, second: PrefixKeys) -> int:
    """Positions from the start on in which both agree."""
    length = min(len(first), len(second))
    differs = (first[:length] != second[:length]).any(axis=1)
    return int(differs.argmax()) if differs.any() else length


class KVSlot:
    """All changes of the backend's slot `number` go through here, so that `keys` says what it
    holds, position by position.

    `is_sound` is False from the start of a call to the backend until it has succeeded, and for good
    when it failed or gave no numbers: what the slot holds then is not known, and it must not be
    used again.
    """

    def __init__(self, backend: Backend, number: int, keys: PrefixKeys | None = None) -> None:
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
    def keys(self) -> PrefixKeys:
        """(length, 3): what it holds; a view."""
        return self._keys[: self._length]

    def begin(self, prompt: PrefixKeys) -> None:
        """The prompt that it is to hold next, of which it already holds the beginning; what comes
        behind that is text.
        """
        if shared_prefix_length(self.keys, prompt) < self._length:
            raise ValueError('the slot holds other positions than the prompt')
        self._plan = prompt

    def forward(self, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend."""
        self.is_sound = False
        logits = self._backend.forward(self.number, chunk, logits_indices)
        self._note(chunk)
        return logits

    def forward_greedy(self, chunk: Chunk) -> GreedyToken:
        """See Backend."""
        self.is_sound = False
        best = self._backend.forward_greedy(self.number, chunk)
        self._note(chunk)
        return best

    def forward_greedy_each(self, chunk: Chunk, logits_indices: Sequence[int]) -> list[GreedyToken]:
        """See Backend."""
        self.is_sound = False
        best = self._backend.forward_greedy_each(self.number, chunk, logits_indices)
        self._note(chunk)
        return best

    def truncate(self, length: int) -> None:
        """See Backend."""
        was_sound, self.is_sound = self.is_sound, False
        self._backend.truncate(self.number, length)
        self._length, self.is_sound = length, was_sound

    def fork(self, length: int) -> KVSlot:
        """See Backend."""
        return KVSlot(self._backend, self._backend.fork(self.number, length), self._keys[:length])

    def free(self) -> None:
        """Gives the backend's slot back."""
        self._backend.free_slot(self.number)

    def _note(self, chunk: Chunk) -> None:
        end = self._length + len(chunk.token_ids)
        if end > len(self._keys):
            room = np.zeros((2 * end, 3), np.int64)
            room[: self._length] = self.keys
            self._keys = room
        planned = self._plan[self._length : end]
        self._keys[self._length : self._length + len(planned)] = planned
        self._keys[self._length + len(planned) : end] = text_keys(chunk.token_ids[len(planned) :])
        self._length, self.is_sound = end, True
