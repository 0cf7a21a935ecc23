# SPDX-License-Identifier: Apache-2.0
"""A KV slot of which every position is known, and the prefix keys that say what stands there.

Two sequences that agree in the keys of their first n positions have the same keys and values there:
a position depends on what stands at it and before it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Backend, Branch, Chunk, GreedyToken, Logits
from penguin_ros.model_inputs import ModelInputs

PrefixKeys = NDArray[np.int64]
"""(positions, 3) int64. A text token is token id, 0, -1; a visual token is both halves of its
frame's key and its row in the frame.
"""

_TEXT = -1


class KVSlot:
    """A slot of the backend, by its `slot_id`. All changes go through this object, so that `keys`
    say what the slot holds, position by position.

    `is_sound` is False from the start of a call to the backend until it has succeeded, and for good
    when it failed or gave NaN: what the slot holds then is not known, and it must not be used
    again.
    """

    def __init__(self, backend: Backend, slot_id: int, keys: PrefixKeys | None = None) -> None:
        self.slot_id = slot_id
        self.is_sound = True
        self._backend = backend
        self._keys = no_keys() if keys is None else keys.copy()
        self._length = len(self._keys)
        self._prompt = no_keys()

    @property
    def length(self) -> int:
        """Number of positions that it holds."""
        return self._length

    @property
    def keys(self) -> PrefixKeys:
        """What it holds, (length, 3); a view."""
        return self._keys[: self._length]

    def begin(self, prompt: PrefixKeys) -> None:
        """Names the prompt that the slot is to hold next, of which it already holds a prefix; what
        is appended after the prompt is text.
        """
        if shared_prefix_length(self.keys, prompt) < self._length:
            raise ValueError('the slot holds other positions than the prompt')
        self._prompt = prompt

    def forward(self, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend."""
        self.is_sound = False
        logits = self._backend.forward(self.slot_id, chunk, logits_indices)
        self._note(chunk)
        return logits

    def forward_greedy(self, chunk: Chunk) -> GreedyToken:
        """See Backend."""
        self.is_sound = False
        token = self._backend.forward_greedy(self.slot_id, chunk)
        self._note(chunk)
        return token

    def forward_greedy_each(self, chunk: Chunk, logits_indices: Sequence[int]) -> list[GreedyToken]:
        """See Backend."""
        self.is_sound = False
        tokens = self._backend.forward_greedy_each(self.slot_id, chunk, logits_indices)
        self._note(chunk)
        return tokens

    def forward_greedy_run(self, token_id: int, count: int) -> list[GreedyToken]:
        """See Backend."""
        self.is_sound = False
        tokens = self._backend.forward_greedy_run(self.slot_id, token_id, count)
        held = [token_id, *(token.token_id for token in tokens[:-1])]
        self._note(Chunk(np.array(held, np.int64)))
        return tokens

    @property
    def greedy_steps(self) -> int:
        """How many tokens the backend best writes at once."""
        return self._backend.description.greedy_steps

    def forward_branches(self, branches: Sequence[Branch]) -> list[Logits]:
        """See Backend."""
        self.is_sound = False
        logits = self._backend.forward_branches(self.slot_id, branches)
        self.is_sound = True
        return logits

    def truncate(self, length: int) -> None:
        """See Backend."""
        was_sound = self.is_sound
        self.is_sound = False
        self._backend.truncate(self.slot_id, length)
        self._length = length
        self.is_sound = was_sound

    def fork(self, length: int) -> KVSlot:
        """Returns a new slot with a copy of the first `length` positions; NoFreeSlot."""
        return KVSlot(self._backend, self._backend.fork(self.slot_id, length), self._keys[:length])

    def free(self) -> None:
        """Gives the backend's slot back."""
        self._backend.free_slot(self.slot_id)

    def _note(self, chunk: Chunk) -> None:
        end = self._length + len(chunk.token_ids)
        if end > len(self._keys):
            room = np.zeros((2 * end, 3), np.int64)
            room[: self._length] = self.keys
            self._keys = room
        of_prompt = self._prompt[self._length : end]
        self._keys[self._length : self._length + len(of_prompt)] = of_prompt
        self._keys[self._length + len(of_prompt) : end] = text_keys(
            chunk.token_ids[len(of_prompt) :]
        )
        self._length = end
        self.is_sound = True


def no_keys() -> PrefixKeys:
    """Returns the keys of an empty sequence."""
    return np.zeros((0, 3), np.int64)


def text_keys(token_ids: NDArray[np.int64]) -> PrefixKeys:
    """Returns the keys of token ids (n,)."""
    keys = np.zeros((len(token_ids), 3), np.int64)
    keys[:, 0] = token_ids
    keys[:, 2] = _TEXT
    return keys


def prompt_keys(inputs: ModelInputs) -> PrefixKeys:
    """Returns the keys of a prompt; visual tokens are told apart by their frame's content."""
    keys = text_keys(np.asarray(inputs.prompt.token_ids, np.int64))
    for start, frame in zip(inputs.prompt.image_starts, inputs.frames, strict=True):
        of_frame = keys[start : start + frame.tokens]
        of_frame[:, :2] = np.frombuffer(frame.key, np.int64)
        of_frame[:, 2] = np.arange(frame.tokens)
    return keys


def visual_end(inputs: ModelInputs) -> int:
    """Returns the position after the last visual token of a prompt, 0 without frames. What lies
    before it is worth keeping for the next prompt.
    """
    if not inputs.frames:
        return 0
    return inputs.prompt.image_starts[-1] + inputs.frames[-1].tokens


def is_superseded(old: PrefixKeys, new: PrefixKeys) -> bool:
    """True when a new prompt shows the last frame of an old one and further frames after it: time
    has moved on.
    """
    shown = np.flatnonzero(new[:, 2] != _TEXT)
    before = np.flatnonzero(old[:, 2] != _TEXT)
    if not len(shown) or not len(before):
        return False
    is_last = (new[shown, :2] == old[before[-1], :2]).all(axis=1)
    return bool(is_last.any() and not is_last[-1])


def shared_prefix_length(first: PrefixKeys, second: PrefixKeys) -> int:
    """Returns the number of positions from the start on in which both agree."""
    length = min(len(first), len(second))
    differs = (first[:length] != second[:length]).any(axis=1)
    return int(differs.argmax()) if differs.any() else length
