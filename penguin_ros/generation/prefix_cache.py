# SPDX-License-Identifier: Apache-2.0
"""Keeps KV slots after their generation, so that the next prompt computes only what it does not
share with them.

A prompt takes the kept slot that holds its longest prefix. A slot that another generation uses,
such as a preempted caption's, is never taken away: its prefix is copied. Worker thread, apart from
`forget` and `stats`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from penguin_ros.backends.base.backend import Backend
from penguin_ros.errors import NoFreeSlot
from penguin_ros.generation.kv_slot import KVSlot, PrefixKeys, is_superseded, shared_prefix_length

COPY_COST = 1 / 64
"""The cost of copying a position to another slot, where computing it costs 1; 1/300 was measured
for a 2B network on two CPU cores.
"""

WORTH_COPYING = 16
"""Fewer positions than this are not copied but computed again, in the same chunk as the rest."""


@dataclass(frozen=True)
class PrefixCacheStats:
    """`kept_slots`, with `kept_positions` together, wait for the next prompt now. Since the start:
    positions of prompts that were found in a slot (`reused`) or not (`computed`); prompts that were
    computed in a kept slot (`continued`), in a copy of another slot's prefix (`forked`), or in an
    empty slot (`fresh`); kept slots that were freed for the clip that came after theirs
    (`superseded`), for any other prompt (`evicted`), or because they could not be trusted
    (`dropped`).
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
    """A slot of the cache. `shared`: how many of its first positions other prompts may share; what
    comes after them belongs to one question. `used` rises with every use. Entries of an older
    `epoch` are forgotten. `is_leased`: a generation uses the slot. `is_lasting`: a conversation
    goes on from it, however time moves on.
    """

    slot: KVSlot
    shared: int
    used: int
    epoch: int
    is_leased: bool = True
    is_lasting: bool = False


class PrefixCache:
    """The slots of one backend; with `is_keeping` False each is freed as soon as its generation
    ends.
    """

    def __init__(self, backend: Backend, is_keeping: bool) -> None:
        self._backend = backend
        self._is_keeping = is_keeping
        self._entries: list[_Entry] = []
        self._uses = itertools.count(1)
        self._epoch = 0
        self._stats = PrefixCacheStats()

    def acquire(self, keys: PrefixKeys, shared: int, is_lasting: bool = False) -> KVSlot:
        """Returns a slot that holds a prefix of `keys` (n, 3), n - 1 positions at most: the logits
        of the last one are needed.

        `shared`: how many first positions later prompts may share; `is_lasting`: the clip that
        comes after this one does not supersede it. NoFreeSlot when generations use all slots.
        """
        self._free_forgotten()
        slot = self._placed(keys[:-1])
        if slot.length == len(keys) - 1 >= WORTH_COPYING:
            # A pass over one position may round otherwise than the longer ones of a prompt do.
            slot.truncate(slot.length - 1)
        slot.begin(keys)
        entry = self._entry(slot)
        entry.shared = shared
        entry.is_lasting = is_lasting
        entry.used = next(self._uses)
        entry.epoch = self._epoch
        entry.is_leased = True
        self._count(reused=slot.length, computed=len(keys) - slot.length)
        return slot

    def held(self, keys: PrefixKeys) -> int:
        """Returns how many positions `acquire` would find now, at least; it does not count as a
        use of their slot.
        """
        source, common = self._best_source(keys[:-1])
        is_found = source is not None and (
            common >= WORTH_COPYING or self._can_continue(source, common)
        )
        return common if is_found else 0

    def retake(self, slot: KVSlot, keys: PrefixKeys) -> bool:
        """Acquires a released slot again if it still holds nothing but a prefix of `keys`; returns
        False when it is lost.
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
        """Takes the slot of a generation that has ended: keeps it, or frees it when what it holds
        is not known or was to be forgotten.
        """
        entry = self._entry(slot)
        entry.is_leased = False
        entry.used = next(self._uses)
        is_current = entry.epoch == self._epoch
        if not (self._is_keeping and is_current and slot.is_sound and slot.length):
            self._free(entry)
        self._count(dropped=not slot.is_sound)

    def forget(self) -> None:
        """Makes later prompts use nothing that was computed before; slots in use go on and are
        freed afterwards. Any thread.
        """
        self._epoch += 1

    def free_kept(self) -> None:
        """Frees all slots that no generation uses."""
        for entry in self._idle():
            self._free(entry)
        self._count()

    def stats(self) -> PrefixCacheStats:
        """Returns a snapshot; any thread."""
        return self._stats

    def _placed(self, wanted: PrefixKeys) -> KVSlot:
        source, common = self._best_source(wanted)
        if source is not None and self._can_continue(source, common):
            return self._continued(source, common)
        victim = self._least_recently_used(
            entry
            for entry in self._idle()
            if not entry.is_lasting and is_superseded(entry.slot.keys, wanted)
        )
        is_superseding = victim is not None
        if victim is None:
            try:
                return self._added(source, common)
            except NoFreeSlot:
                victim = self._least_recently_used(self._idle())
                if victim is None:
                    raise
        if victim is source:
            return self._continued(victim, common)
        self._free(victim)
        self._count(superseded=is_superseding, evicted=not is_superseding)
        return self._added(source, common)

    @staticmethod
    def _least_recently_used(entries: Iterable[_Entry]) -> _Entry | None:
        return min(entries, key=lambda entry: entry.used, default=None)

    def _best_source(self, wanted: PrefixKeys) -> tuple[_Entry | None, int]:
        """Returns the entry that saves most, and how many positions it shares with what is wanted;
        None when no entry shares any.
        """
        best: _Entry | None = None
        most, best_common = 0.0, 0
        for entry in self._entries:
            if entry.epoch != self._epoch or not entry.slot.is_sound:
                continue
            common = shared_prefix_length(entry.slot.keys, wanted)
            saved = common * (1.0 if self._can_continue(entry, common) else 1.0 - COPY_COST)
            if saved > most:
                best, most, best_common = entry, saved, common
        return best, best_common

    def _can_continue(self, entry: _Entry, common: int) -> bool:
        """True when continuing in that slot loses nothing that another prompt may want, only the
        question and the answer of the prompt before.
        """
        return not entry.is_leased and common >= min(entry.shared, entry.slot.length)

    def _continued(self, entry: _Entry, common: int) -> KVSlot:
        entry.slot.truncate(common)
        self._count(continued=1)
        return entry.slot

    def _added(self, source: _Entry | None, common: int) -> KVSlot:
        """Adds a slot, with a copy of the common prefix where that is worth it; NoFreeSlot."""
        if source is not None and common >= WORTH_COPYING:
            slot = source.slot.fork(common)
            source.used = next(self._uses)
            self._count(forked=1)
        else:
            slot = KVSlot(self._backend, self._backend.new_slot())
            self._count(fresh=1)
        self._entries.append(_Entry(slot, 0, 0, self._epoch))
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
        summed = {name: getattr(self._stats, name) + number for name, number in more.items()}
        self._stats = replace(
            self._stats,
            **summed,
            kept_slots=len(idle),
            kept_positions=sum(entry.slot.length for entry in idle),
        )
