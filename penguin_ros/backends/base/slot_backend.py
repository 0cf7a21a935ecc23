# SPDX-License-Identifier: Apache-2.0
"""What all backends have in common: the open state, the table of KV slots, the checks of arguments,
and the handles and encodes that die when the backend closes.

A library's backend derives from `SlotBackend` and implements the methods that begin with an
underscore; they get checked arguments, and slots as indices 0 .. slots - 1. All of it runs on the
one thread that opened the backend.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    Backend,
    BackendDescription,
    Branch,
    Chunk,
    Features,
    GreedyToken,
    Logits,
    greedy_run,
    greedy_tokens,
    read_in_turn,
)
from penguin_ros.backends.base.input_checks import (
    check_branch,
    check_chunk,
    check_frames,
    check_stage,
    logit_indices,
)
from penguin_ros.backends.base.slots import SlotTable
from penguin_ros.backends.base.token_tree import RowLayout, TokenTree, branch_groups
from penguin_ros.errors import BackendError
from penguin_ros.model_inputs import FramePatches

Session = TypeVar('Session')
Handle = TypeVar('Handle', bound=Features)
Array = TypeVar('Array', bound=Any)


@dataclass(frozen=True, eq=False)
class Append:
    """The checked arguments of one `forward`: `chunk` goes behind the `past` positions that the
    slot `index` holds; `wanted` are the positions of the chunk, 0 .. S - 1, whose logits are asked
    for. `layout`: how its rows follow each other where they do not stand in line; None elsewhere.
    """

    index: int
    past: int
    chunk: Chunk
    wanted: list[int]
    layout: RowLayout | None = None

    @property
    def num_tokens(self) -> int:
        """S, the number of positions of the chunk."""
        return len(self.chunk.token_ids)


BRANCH_ROWS = 256
"""Rows of one pass over branches where a library sets no other limit: each row attends to all rows
of its pass, in vain where they belong to other branches, so a wide pass gains little.
"""

BRANCH_LOGITS = 128
"""Rows of a pass whose logits are wanted, likewise; so many rows of 150,000 logits are 77 MB."""


@dataclass(frozen=True)
class BranchLimits:
    """What a library takes in one pass over branches: `rows` of them, and rows with `logits`."""

    rows: int
    logits: int


class StagedFeatures(Features, Generic[Array]):
    """The features of one frame as two arrays of the library: `stages['encoded']` (tokens, encoder
    size) and `stages['projected']` (tokens, hidden_size); empty once their backend is closed.

    The encoder's output is kept beside the projector's, at encoder size / hidden_size of its
    memory, so that parity sees the very numbers that were used; `nbytes` counts both.
    """

    def __init__(self, encoded: Array, projected: Array) -> None:
        self.stages: dict[str, Array] = {'encoded': encoded, 'projected': projected}
        self.tokens = len(projected)
        self.nbytes = encoded.nbytes + projected.nbytes

    def release(self) -> None:
        """Drops both arrays."""
        self.stages.clear()


class SlotBackend(Backend, Generic[Session, Handle]):
    """A backend whose `Session` is everything that a library holds open, and whose features are of
    the type `Handle`. `patch_values` is the number of values of one patch.
    """

    NAME: ClassVar[str]

    def __init__(self, patch_values: int) -> None:
        self._patch_values = patch_values
        self._session: Session | None = None
        self._description: BackendDescription | None = None
        self._slots = SlotTable(0, 0)
        self._features: weakref.WeakSet[Handle] = weakref.WeakSet()
        self._encodes: weakref.WeakSet[Generator[None, None, Handle]] = weakref.WeakSet()

    # --- what a library implements ----------------------------------------------------------------

    @abstractmethod
    def _open(self) -> tuple[Session, BackendDescription]:
        """Loads the weights and allocates the slots; frees all of it when it raises."""

    def _close(self, session: Session) -> None:
        """Frees what `_open` allocated; features and running encodes are gone already."""

    def _check_frame(self, session: Session, frame: FramePatches) -> None:
        """Raises BackendError when the model that is open cannot take a frame that is sound."""

    @abstractmethod
    def _encode_frame(self, session: Session, frame: FramePatches) -> Generator[None, None, Handle]:
        """Encodes one frame, with a yield after each slice. It may be closed at any yield, and must
        then hold nothing.
        """

    @abstractmethod
    def _read(self, session: Session, features: Handle, stage: str) -> NDArray[np.float32]:
        """Copies a stage of features, 'encoded' or 'projected', to the host."""

    @abstractmethod
    def _append(self, session: Session, append: Append) -> Logits:
        """Writes the positions of a chunk, which fit; returns logits (len(wanted),
        vocabulary_size). Positions beyond `past` may hold anything when it raises.
        """

    def _append_greedy(self, session: Session, append: Append) -> list[GreedyToken]:
        """Does the same and returns the most probable tokens; a library that can choose on the
        device overrides it.
        """
        return greedy_tokens(self._append(session, append))

    def _append_greedy_run(
        self, session: Session, append: Append, count: int
    ) -> list[GreedyToken] | None:
        """Appends the token of a chunk, and `count` - 1 times the most probable one after it, which
        all fit; returns the most probable ones. None where the library writes them one by one.
        """
        return None

    def _branch_limits(self, session: Session) -> BranchLimits | None:
        """Returns what one pass over branches takes; None where the library reads them one after
        another.
        """
        return None

    def _append_branches(self, session: Session, append: Append) -> Logits:
        """Reads the rows of a tree, whose `layout` is given; returns logits (len(wanted),
        vocabulary_size). The slot holds what it held, also when it raises; `_forget` is called for
        the rows afterwards.
        """
        raise NotImplementedError

    @abstractmethod
    def _copy(self, session: Session, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of the slot `source` to the empty slot `target`."""

    def _forget(self, session: Session, index: int, length: int, held: int) -> None:
        """Forgets the positions from `length` to `held` of a slot; nothing to do where what lies
        beyond a slot's length is never read.
        """

    # --- the contract, see Backend ----------------------------------------------------------------

    def open(self) -> BackendDescription:
        """See Backend; harmless when open."""
        if self._description is None:
            session, description = self._open()
            self._session = session
            self._description = description
            self._slots = SlotTable(description.slots, description.max_length)
        return self._description

    def close(self) -> None:
        """See Backend; running encodes end when they are asked for more."""
        session = self._session
        self._session = None
        self._description = None
        self._slots = SlotTable(0, 0)
        for slices in list(self._encodes):
            slices.close()
        for features in list(self._features):
            features.release()
        self._features = weakref.WeakSet()
        if session is not None:
            self._close(session)

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        if self._description is None:
            raise self._not_open()
        return self._description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """See Backend. Frames are not batched: each runs alone, so its features are the same bits
        in any company.
        """
        session = self._opened()
        check_frames(frames, self._patch_values)
        for frame in frames:
            self._check_frame(session, frame)
        return self._encode_each(session, frames)

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """See Backend; both stages are kept."""
        session = self._opened()
        check_stage(stage)
        return self._read(session, self._own(features), stage)

    def new_slot(self) -> int:
        """See Backend."""
        self._opened()
        return self._slots.take()

    def free_slot(self, slot: int) -> None:
        """See Backend."""
        self._opened()
        self._slots.release(slot)

    def slot_length(self, slot: int) -> int:
        """See Backend."""
        self._opened()
        return self._slots.length(slot)

    def truncate(self, slot: int, length: int) -> None:
        """See Backend."""
        session = self._opened()
        self._slots.require_length(slot, length)
        self._forget(session, self._slots.index(slot), length, self._slots.length(slot))
        self._slots.set_length(slot, length)

    def fork(self, slot: int, length: int) -> int:
        """See Backend; copies inside the device."""
        session = self._opened()
        self._slots.require_length(slot, length)
        copy = self._slots.take(length)
        try:
            self._copy(session, self._slots.index(slot), self._slots.index(copy), length)
        except BackendError:
            self._slots.release(copy)
            raise
        return copy

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend."""
        session, append = self._checked(slot, chunk, logits_indices)
        logits = self._append(session, append)
        self._slots.set_length(slot, append.past + append.num_tokens)
        return logits

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """See Backend."""
        session, append = self._checked(slot, chunk, logits_indices)
        tokens = self._append_greedy(session, append)
        self._slots.set_length(slot, append.past + append.num_tokens)
        return tokens

    def forward_greedy_run(self, slot: int, token_id: int, count: int) -> list[GreedyToken]:
        """See Backend."""
        session, append = self._checked(slot, Chunk(np.array([token_id], np.int64)), [-1])
        self._slots.require_room(slot, count)
        tokens = self._append_greedy_run(session, append, count)
        if tokens is None:
            return greedy_run(self, slot, token_id, count)
        self._slots.set_length(slot, append.past + count)
        return tokens

    def forward_branches(self, slot: int, branches: Sequence[Branch]) -> list[Logits]:
        """See Backend; in as few passes as the library and the slot's room allow."""
        session = self._opened()
        for branch in branches:
            check_branch(branch, self.description.vocabulary_size)
            self._slots.require_room(slot, len(branch.token_ids))
        limits = self._branch_limits(session)
        if limits is None:
            return read_in_turn(self, slot, branches)
        room = self.description.max_length - self._slots.length(slot)
        found: list[Logits] = []
        for group in branch_groups(branches, min(limits.rows, room), limits.logits):
            tree = TokenTree()
            for branch in group:
                tree.add(branch)
            is_fitting = len(tree.token_ids) <= limits.rows and len(tree.wanted) <= limits.logits
            read = self._read_tree(slot, tree) if is_fitting else None
            found.extend(read_in_turn(self, slot, group) if read is None else read)
        return found

    def _read_tree(self, slot: int, tree: TokenTree) -> list[Logits] | None:
        """Reads a tree in one pass; returns the logits of each of its branches. None where any are
        not finite: a hidden row counts zero times its value, so it may have spoiled the others.
        """
        session, index, past = self._opened(), self._slots.index(slot), self._slots.length(slot)
        chunk = Chunk(np.array(tree.token_ids, np.int64))
        try:
            logits = self._append_branches(
                session, Append(index, past, chunk, tree.wanted, tree.layout())
            )
        finally:
            self._forget(session, index, past, past + len(tree.token_ids))
        if not np.isfinite(logits[:, :1]).all():
            return None
        return [logits[places] for places in tree.places()]

    # --- inside -----------------------------------------------------------------------------------

    def _encode_each(
        self, session: Session, frames: Sequence[FramePatches]
    ) -> Generator[None, None, list[Features]]:
        done: list[Features] = []
        for frame in frames:
            self._require(session)
            slices = self._encode_frame(session, frame)
            self._encodes.add(slices)
            # No name holds the features here: `close` may free them while this frame is suspended.
            done.append(self._kept((yield from slices)))
        return done

    def _kept(self, features: Handle | None) -> Handle:
        """Registers a handle, so that `close` finds it; BackendError for None, which is what a
        closed encode returns.
        """
        if features is None:
            raise self._not_open()
        self._features.add(features)
        return features

    def _checked(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> tuple[Session, Append]:
        """BackendError or CacheOverflow when the slot cannot take the chunk."""
        session = self._opened()
        check_chunk(chunk, self.description.vocabulary_size)
        wanted = logit_indices(logits_indices, len(chunk.token_ids))
        self._slots.require_room(slot, len(chunk.token_ids))
        return session, Append(self._slots.index(slot), self._slots.length(slot), chunk, wanted)

    def _own(self, features: Features) -> Handle:
        """The handle as the library's own; BackendError when this opening did not make it."""
        if features not in self._features:
            raise BackendError(
                'these features cannot be used',
                'another backend made them, or theirs was closed',
                'Encode the frames again',
            )
        return cast('Handle', features)

    def _opened(self) -> Session:
        if self._session is None:
            raise self._not_open()
        return self._session

    def _require(self, session: Session) -> None:
        """BackendError unless it is this session that is open."""
        if self._session is not session:
            raise self._not_open()

    def _not_open(self) -> BackendError:
        return BackendError(
            f'the {self.NAME} backend is not open',
            'it was closed, or never opened',
            'Call open first',
        )
