# SPDX-License-Identifier: Apache-2.0
"""Keeps KV slots after their generation, so that the next prompt computes only what it does not
share. Knows keys, no requests.

A prompt takes the kept slot that holds its longest beginning. A slot that another generation uses
(a resting caption's) is never taken away: its beginning is copied. Worker thread, apart from
`forget` and `counts`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from penguin_ros.backends.base.backend import Backend
from penguin_ros.errors import NoFreeSlot
from penguin_ros.generation.kv_slot import KVSlot, PrefixKeys, is_superseded, shared_prefix_length

COPY_COST = 1 / 64
"""Of copying a position to another slot, where computing it is 1: 1/300 was measured for a 2B
network on two CPU cores.
"""

WORTH_COPYING = 16
"""Positions; fewer are computed anew in the same chunk as the rest."""


@dataclass(frozen=True)
class PrefixCacheStats:
    """`kept_slots` with `kept_positions` together wait for the next prompt now. Since the start:
    positions of prompts that were found in a slot (`reused`) or not (`computed`); prompts that went
    on in a kept slot (`continued`), in a copy of another's beginning (`forked`), or in an empty one
    (`fresh`); kept slots that gave way to the clip that came after theirs (`superseded`), to any
    other prompt (`evicted`), or could not be trusted (`dropped`).
    """

    kept_slots: int = 0
    kept_positions: int = 0
    reused: int = 0
    computed: int = 0
    continued: int = 0
    forked: int = 0
    fresh: int = 0
    superseded: int = 0
    evicted: int = 0
    dropped: int = 0


@dataclass(eq=False)
class _Entry:
    """`shared`: the positions in front that other prompts may share; what comes behind belongs to
    one question.

    `used`: rises with every use; `epoch`: entries of an older one are forgotten.
    """

    slot: KVSlot
    shared: int
    used: int
    epoch: int
    is_leased: bool = True


class PrefixCache:
    """Slots of one backend; with `is_keeping` False each is given back as soon as its generation
    ends.
    """

    def __init__(self, backend: Backend, is_keeping: bool) -> None:
        self._backend, self._is_keeping = backend, is_keeping
        self._entries: list[_Entry] = []
        self._uses = itertools.count(1)
        self._epoch = 0
        self._counts = PrefixCacheStats()

    def acquire(self, keys: PrefixKeys, shared: int) -> KVSlot:
        """A slot that holds a beginning of `keys` (n, 3), n - 1 positions at most: the last one's
        logits are needed.

        `shared`: positions in front that later prompts may share. NoFreeSlot when generations use
        them all.
        """
        self._free_forgotten()
        slot = self._placed(keys[:-1])
        if slot.length == len(keys) - 1 >= WORTH_COPYING:
            slot.truncate(
                slot.length - 1
            )  # a pass of one row may round otherwise than the longer ones of a prompt do
        slot.begin(keys)
        entry = self._entry(slot)
        entry.shared, entry.used, entry.epoch, entry.is_leased = (
            shared,
            next(self._uses),
            self._epoch,
            True,
        )
        self._count(reused=slot.length, computed=len(keys) - slot.length)
        return slot

    def held(self, keys: PrefixKeys) -> int:
        """Positions that `acquire` would find now, at least; no use of their slot."""
        source, common = self._best_source(keys[:-1])
        is_found = source is not None and (
            common >= WORTH_COPYING or self._can_continue(source, common)
        )
        return common if is_found else 0

    def retake(self, slot: KVSlot, keys: PrefixKeys) -> bool:
        """Acquires a slot again that was released, when it still holds nothing but a beginning of
        `keys`; False: it is lost.
        """
        entry = next((entry for entry in self._idle() if entry.slot is slot), None)
        if (
            entry is None
            or entry.epoch != self._epoch
            or shared_prefix_length(slot.keys, keys) < slot.length
        ):
            return False
        slot.begin(keys)
        entry.is_leased = True
        return True

    def release(self, slot: KVSlot) -> None:
        """The generation has ended: keeps the slot, or frees it when what it holds is not known or
        was to be forgotten.
        """
        entry = self._entry(slot)
        entry.is_leased, entry.used = False, next(self._uses)
        if (
            not slot.is_sound
            or not self._is_keeping
            or entry.epoch != self._epoch
            or not slot.length
        ):
            self._free(entry)
        self._count(dropped=not slot.is_sound)

    def forget(self) -> None:
        """From now on nothing that was computed before is used again; slots in use go on and are
        freed afterwards. Any thread.
        """
        self._epoch += 1

    def free_kept(self) -> None:
        """Gives all slots back that no generation uses."""
        for entry in self._idle():
            self._free(entry)
        self._count()

    def stats(self) -> PrefixCacheStats:
        """A snapshot; any thread."""
        return self._counts

    def _placed(self, wanted: PrefixKeys) -> KVSlot:
        source, common = self._best_source(wanted)
        if source is not None and self._can_continue(source, common):
            return self._continued(source, common)
        leaving = self._oldest(
            entry for entry in self._idle() if is_superseded(entry.slot.keys, wanted)
        )
        is_superseding = leaving is not None
        if leaving is None:
            try:
                return self._added(source, common)
            except NoFreeSlot:
                leaving = self._oldest(self._idle())
                if leaving is None:
                    raise
        if leaving is source:
            return self._continued(leaving, common)
        self._free(leaving)
        self._count(superseded=is_superseding, evicted=not is_superseding)
        return self._added(source, common)

    @staticmethod
    def _oldest(entries: Iterable[_Entry]) -> _Entry | None:
        return min(entries, key=lambda entry: entry.used, default=None)

    def _best_source(self, wanted: PrefixKeys) -> tuple[_Entry | None, int]:
        """The entry that saves most, and how many positions it shares with what is wanted; None
        when none shares any.
        """
        best: _Entry | None = None
        most, best_common = 0.0, 0
        for entry in self._entries:
            common = (
                shared_prefix_length(entry.slot.keys, wanted)
                if entry.epoch == self._epoch and entry.slot.is_sound
                else 0
            )
            saved = common * (1.0 if self._can_continue(entry, common) else 1.0 - COPY_COST)
            if saved > most:
                best, most, best_common = entry, saved, common
        return best, best_common

    def _can_continue(self, entry: _Entry, common: int) -> bool:
        """True when nothing is lost that another prompt may want: only the question and the answer
        of the one before.
        """
        return not entry.is_leased and common >= min(entry.shared, entry.slot.length)

    def _continued(self, entry: _Entry, common: int) -> KVSlot:
        entry.slot.truncate(common)
        self._count(continued=1)
        return entry.slot

    def _added(self, source: _Entry | None, common: int) -> KVSlot:
        """A slot more, with a copy of the beginning when that is worth it; NoFreeSlot."""
        is_copy = source is not None and common >= WORTH_COPYING
        slot = (
            source.slot.fork(common)
            if source is not None and is_copy
            else KVSlot(self._backend, self._backend.new_slot())
        )
        self._entries.append(_Entry(slot, 0, 0, self._epoch))
        if source is not None and is_copy:
            source.used = next(self._uses)
        self._count(forked=is_copy, fresh=not is_copy)
        return slot

    def _idle(self) -> list[_Entry]:
        return [entry for entry in self._entries if not entry.is_leased]

    def _entry(self, slot: KVSlot) -> _Entry:
        return next(entry for entry in self._entries if entry.slot is slot)

    def _free_forgotten(self) -> None:
        for entry in self._idle():
            if entry.epoch != self._epoch:
                self._free(entry)

    def _free(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        entry.slot.free()

    def _count(self, **more: int) -> None:
        idle = self._idle()
        summed = {name: getattr(self._counts, name) + number for name, number in more.items()}
        self._counts = replace(
            self._counts,
            **summed,
            kept_slots=len(idle),
            kept_positions=sum(entry.slot.length for entry in idle),
        )
