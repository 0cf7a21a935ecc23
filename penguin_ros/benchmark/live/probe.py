# SPDX-License-Identifier: Apache-2.0
"""A backend between the generation loop and the real one, which bounds its slots, times its calls
and tells when one begins. It changes no number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    Backend,
    BackendDescription,
    Chunk,
    Features,
    GreedyToken,
    Logits,
    greedy_run,
)
from penguin_ros.errors import NoFreeSlot
from penguin_ros.evaluation.agreement import margins
from penguin_ros.model_inputs import FramePatches

ENCODE, PREFILL, DECODE = 'encode', 'prefill', 'decode'

Result = TypeVar('Result')


@dataclass(frozen=True)
class Choice:
    """A token that was chosen greedily behind the positions of `slot`, and the margin by which it
    led the second best.
    """

    slot: int
    token_id: int
    margin: float


class ProbedBackend(Backend):
    """Passes every call on to the inner backend.

    At most `most_slots` of its slots are used (0: all), so that what is kept here leaves others
    free. `on_call` gets the phase of each call at its beginning, on the thread that makes it.
    `longest_s` is the longest call since it was set to 0. `choices` collects those of
    `forward_greedy` as long as it is a list.
    """

    def __init__(
        self, inner: Backend, most_slots: int = 0, on_call: Callable[[str], None] | None = None
    ) -> None:
        self._inner = inner
        self._most_slots = most_slots
        self.on_call = on_call
        self._slots: set[int] = set()
        self.longest_s = 0.0
        self.choices: list[Choice] | None = None

    def open(self) -> BackendDescription:
        """Implements Backend."""
        return self._inner.open()

    def close(self) -> None:
        """Implements Backend."""
        self._inner.close()

    @property
    def description(self) -> BackendDescription:
        """Implements Backend."""
        return self._inner.description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """Implements Backend; each slice counts as a call."""
        slices = self._inner.encode(frames)
        try:
            while True:
                try:
                    self._called(ENCODE, lambda: next(slices))
                except StopIteration as end:
                    features: list[Features] = end.value
                    return features
                yield
        finally:
            slices.close()

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """Implements Backend."""
        return self._inner.read_features(features, stage)

    def new_slot(self) -> int:
        """Implements Backend."""
        return self._taken(self._inner.new_slot)

    def free_slot(self, slot: int) -> None:
        """Implements Backend."""
        self._slots.discard(slot)
        self._inner.free_slot(slot)

    def slot_length(self, slot: int) -> int:
        """Implements Backend."""
        return self._inner.slot_length(slot)

    def truncate(self, slot: int, length: int) -> None:
        """Implements Backend."""
        self._inner.truncate(slot, length)

    def fork(self, slot: int, length: int) -> int:
        """Implements Backend."""
        return self._taken(lambda: self._inner.fork(slot, length))

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """Implements Backend."""
        return self._called(_phase(chunk), lambda: self._inner.forward(slot, chunk, logits_indices))

    def forward_greedy(self, slot: int, chunk: Chunk) -> GreedyToken:
        """Implements Backend."""
        if self.choices is None:
            return self._called(_phase(chunk), lambda: self._inner.forward_greedy(slot, chunk))
        logits = self.forward(slot, chunk, (-1,))
        best = int(logits[0].argmax())
        self.choices.append(Choice(slot, best, float(margins(logits)[0])))
        return GreedyToken(
            best, float(logits[0, best]) if np.isfinite(logits).all() else float('nan')
        )

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """Implements Backend."""
        return self._called(
            _phase(chunk), lambda: self._inner.forward_greedy_each(slot, chunk, logits_indices)
        )

    def forward_greedy_run(self, slot: int, token_id: int, count: int) -> list[GreedyToken]:
        """Implements Backend; one by one while choices are noted."""
        if self.choices is not None:
            return greedy_run(self, slot, token_id, count)
        return self._called('decode', lambda: self._inner.forward_greedy_run(slot, token_id, count))

    def _taken(self, take: Callable[[], int]) -> int:
        if self._most_slots and len(self._slots) >= self._most_slots:
            raise NoFreeSlot(f'all {self._most_slots} KV slots are in use')
        slot = take()
        self._slots.add(slot)
        return slot

    def _called(self, phase: str, call: Callable[[], Result]) -> Result:
        if self.on_call is not None:
            self.on_call(phase)
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.longest_s = max(self.longest_s, time.perf_counter() - start)


def _phase(chunk: Chunk) -> str:
    """Tells decoding from prefilling: a chunk of one position is a decoded token."""
    return DECODE if len(chunk.token_ids) == 1 else PREFILL
