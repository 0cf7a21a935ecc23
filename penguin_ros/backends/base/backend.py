# SPDX-License-Identifier: Apache-2.0
"""The contract of every backend: numpy arrays and opaque handles go in and out.

One thread, the scheduler's worker, opens, uses and closes a backend. Visual features and the KV
cache stay on the device. No inference library is imported here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import CacheOverflow
from penguin_ros.model_inputs import FramePatches

Logits = NDArray[np.float32]
Result = TypeVar('Result')

PREFILL_CHUNK = 256
"""Positions that are prefilled per step where neither settings nor measurement say otherwise."""

ENCODE_PATCHES = 4096
"""Patches that are encoded per step, likewise."""


@dataclass(frozen=True)
class GreedyToken:
    """The most probable next token and its logit, which is NaN when any of the logits is NaN or
    infinite.
    """

    token_id: int
    logit: float


@dataclass(frozen=True)
class BackendDescription:
    """What is open: `slots` KV slots of `max_length` positions and `slot_bytes` each;
    `hidden_size` and `vocabulary_size` in elements. `way`: how the library computes on the device,
    and on which card, in words. `prefill_chunk`: positions that are prefilled per
    step, as the settings say or the device takes. `greedy_steps`: tokens that it best writes one
    after another without anybody looking, see `forward_greedy_run`. `decoded_by`: what writes text
    where that is not the backend by itself.
    """

    name: str
    device: str
    precision: str
    model_name: str
    model_digest: str
    hidden_size: int
    vocabulary_size: int
    max_length: int
    slots: int
    slot_bytes: int
    feature_bytes_per_token: int
    way: str = ''
    prefill_chunk: int = PREFILL_CHUNK
    greedy_steps: int = 1
    decoded_by: str = ''

    @property
    def ran(self) -> str:
        """What ran the model, for evidence."""
        return f'{self.name} with {self.decoded_by}' if self.decoded_by else self.name


@dataclass(frozen=True)
class BackendStats:
    """What happened in a backend since it was opened: `counts` by a name for users; `slowdown` is
    why it computes slower than it could, '' when it does not.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    slowdown: str = ''


class Features:
    """An opaque handle: the projected features of one frame, (tokens, hidden_size), on the device
    of the backend that made them.
    """

    tokens: int
    nbytes: int

    def release(self) -> None:
        """Lets go of the memory when the backend closes; by default the memory belongs to the
        device, which frees it.
        """


@dataclass(frozen=True, eq=False)
class FeatureSpan:
    """The rows `first` .. `first + count` of `features` stand at `offset` .. `offset + count` of a
    chunk.
    """

    offset: int
    features: Features
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """S consecutive positions of a sequence: `token_ids` (S,) int64, of which the spans are
    replaced by visual features.
    """

    token_ids: NDArray[np.int64]
    spans: tuple[FeatureSpan, ...] = ()


@dataclass(frozen=True, eq=False)
class Branch:
    """One short continuation of what a slot holds: `token_ids` (n,) int64, at least one, and the
    positions of it whose logits are wanted, as indices into it (negative ones count from its end).
    """

    token_ids: NDArray[np.int64]
    logits_indices: tuple[int, ...] = (-1,)


class Backend(ABC):
    """Runs one checkpoint or bundle. `open` may raise BackendUnavailable, OutOfMemory or a
    CheckpointError.
    """

    @abstractmethod
    def open(self) -> BackendDescription:
        """Loads the weights and allocates the KV slots."""

    @abstractmethod
    def close(self) -> None:
        """Frees everything; harmless when not open. Handles of this backend are dead afterwards."""

    @property
    @abstractmethod
    def description(self) -> BackendDescription:
        """What `open` returned; BackendError when not open."""

    def stats(self) -> BackendStats:
        """Returns what a backend counts while it runs, for diagnostics; on any thread."""
        return BackendStats()

    def time_on_device(self, work: Callable[[], Result]) -> tuple[Result, float | None]:
        """Runs calls of this backend; returns their result and the seconds from the first to the
        last of their operations on the device's own clock, None where that cannot be told. Used
        where time is measured, since the device is waited for.
        """
        return work(), None

    @abstractmethod
    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """Encodes and projects frames; yields between slices of bounded work, returns one handle
        per frame in order.

        The result of a frame depends on that frame alone. Closing the generator early frees what
        was computed.
        """

    @abstractmethod
    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """Copies features to the host, for parity and tests: stage 'projected' (tokens,
        hidden_size), or 'encoded' (tokens, encoder size), which is what the encoder gave after
        merging, recomputed or kept.
        """

    @abstractmethod
    def new_slot(self) -> int:
        """Takes an empty KV slot; NoFreeSlot when all are in use."""

    @abstractmethod
    def free_slot(self, slot: int) -> None:
        """Gives a slot back."""

    @abstractmethod
    def slot_length(self, slot: int) -> int:
        """Returns the number of positions that a slot holds."""

    @abstractmethod
    def truncate(self, slot: int, length: int) -> None:
        """Forgets the positions from `length` on; BackendError when the slot holds fewer."""

    @abstractmethod
    def fork(self, slot: int, length: int) -> int:
        """Takes a new slot that holds a copy of the first `length` positions; NoFreeSlot when all
        are in use.
        """

    @abstractmethod
    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """Appends the S positions of `chunk` to the slot; returns logits (len(logits_indices),
        vocabulary_size) float32.

        `logits_indices` are indices into the chunk (negative ones count from its end). Decoding is
        S = 1, verifying a draft S > 1, a prefill chunk asks for nothing until the last. Any S will
        do: long chunks run in parts. CacheOverflow is raised before anything is written when
        slot_length + S > max_length; whatever is raised, the slot is as long as before.
        """

    def forward_greedy(self, slot: int, chunk: Chunk) -> GreedyToken:
        """Appends `chunk` as `forward` does, and returns the most probable token after its last
        position, any one of those that are equal.

        A backend may choose on the device and move a few bytes instead of all logits.
        """
        return self.forward_greedy_each(slot, chunk, (-1,))[0]

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """Appends `chunk` as `forward` does, and returns the most probable token after each of the
        positions `logits_indices`: what verifying a greedy draft needs.
        """
        return greedy_tokens(self.forward(slot, chunk, logits_indices))

    def forward_greedy_run(self, slot: int, token_id: int, count: int) -> list[GreedyToken]:
        """Appends a token, and `count` - 1 times the most probable one after what was appended;
        returns what was most probable each time. The slot holds `count` positions more, the last of
        the tokens that are returned is not among them.

        A backend may write them all before the host hears of one. CacheOverflow is raised before
        anything is written; whatever is raised, the slot is as long as before.
        """
        return greedy_run(self, slot, token_id, count)

    def forward_branches(self, slot: int, branches: Sequence[Branch]) -> list[Logits]:
        """Returns for each branch its logits (len(logits_indices), vocabulary_size) float32, as if
        it alone were appended to what the slot holds; afterwards the slot holds what it held.

        A backend may read many in one pass, in which what they share at their beginning is
        computed once; by default they are read one after another. CacheOverflow is raised before
        anything is written when one of them does not fit into the slot by itself.
        """
        return read_in_turn(self, slot, branches)


def greedy_run(backend: Backend, slot: int, token_id: int, count: int) -> list[GreedyToken]:
    """Writes tokens one by one; see `Backend.forward_greedy_run`."""
    length = backend.slot_length(slot)
    most = backend.description.max_length
    if length + count > most:
        raise CacheOverflow(
            f'{count} positions do not fit into the KV slot',
            f'it holds {length} of at most {most}',
            'Shorten the prompt or raise model.max_length',
        )
    found: list[GreedyToken] = []
    try:
        for _ in range(count):
            found.append(backend.forward_greedy(slot, Chunk(np.array([token_id], np.int64))))
            token_id = found[-1].token_id
    except BaseException:
        backend.truncate(slot, length)
        raise
    return found


def read_in_turn(backend: Backend, slot: int, branches: Sequence[Branch]) -> list[Logits]:
    """Appends each branch and forgets it again. What it shares with the one before it, up to the
    first position whose logits are wanted, is left standing.
    """
    length = backend.slot_length(slot)
    _require_room(backend, length, branches)
    held: list[int] = []
    found = []
    try:
        for branch in branches:
            ids = branch.token_ids.tolist()
            wanted = [index % len(ids) for index in branch.logits_indices]
            kept = _shared(held, ids[: min(wanted, default=len(ids) - 1)])
            backend.truncate(slot, length + kept)
            rest = Chunk(branch.token_ids[kept:])
            found.append(backend.forward(slot, rest, [index - kept for index in wanted]))
            held = ids
    finally:
        backend.truncate(slot, min(length, backend.slot_length(slot)))
    return found


def _require_room(backend: Backend, length: int, branches: Sequence[Branch]) -> None:
    longest = max((len(branch.token_ids) for branch in branches), default=0)
    most = backend.description.max_length
    if length + longest > most:
        raise CacheOverflow(
            f'a branch of {longest} positions does not fit into the KV slot',
            f'it holds {length} of at most {most}',
            'Shorten the prompt or raise model.max_length',
        )


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many ids both begin with."""
    pairs = zip(first, second, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if one != other),
        min(len(first), len(second)),
    )


def greedy_tokens(logits: Logits) -> list[GreedyToken]:
    """Returns the most probable token of each row of (n, vocabulary_size)."""
    return [
        GreedyToken(int(token_id), float(row[token_id]) if np.isfinite(row).all() else math.nan)
        for row, token_id in zip(logits, logits.argmax(axis=1), strict=True)
    ]
