# SPDX-License-Identifier: Apache-2.0
"""The bookkeeping of KV slots: which are in use, and how many positions each holds. The keys and
values themselves lie in each backend's cache.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, CacheOverflow, NoFreeSlot

# Ids are never reused, by any table: a slot that was freed, or belongs to a closed or another
# backend, is refused instead of showing somebody else's positions.
_slot_ids = itertools.count(1)


class SlotDefaults(NamedTuple):
    """What counts where the settings are 0: the number of slots, and the bytes of all together."""

    slots: int = 4
    all_bytes: int = 2**31


def slots_within(config: ModelConfig, slot_bytes: int, defaults: SlotDefaults | None = None) -> int:
    """Returns how many slots of `slot_bytes` there are: kv_slots, or fewer when these exceed
    kv_bytes; at least one.
    """
    defaults = defaults or SlotDefaults()
    all_bytes = config.kv_bytes or defaults.all_bytes
    return max(1, min(config.kv_slots or defaults.slots, all_bytes // max(1, slot_bytes)))


@dataclass
class _Slot:
    index: int
    length: int


class SlotTable:
    """`slots` slots of `max_length` positions each. Each has an index, 0 .. slots - 1, by which the
    cache finds it, and while it is in use an id, by which its user names it.
    """

    def __init__(self, slots: int, max_length: int) -> None:
        self.max_length = max_length
        self._slots = slots
        self._free = list(reversed(range(slots)))
        self._used: dict[int, _Slot] = {}

    def take(self, length: int = 0) -> int:
        """Returns the id of a slot that holds `length` positions; NoFreeSlot when all are in
        use.
        """
        if not self._free:
            raise NoFreeSlot(
                f'all {self._slots} KV slots are in use',
                'each running request holds one',
                'Free a slot, or raise model.kv_slots',
            )
        slot_id = next(_slot_ids)
        self._used[slot_id] = _Slot(self._free.pop(), length)
        return slot_id

    def release(self, slot_id: int) -> None:
        """Gives a slot back; BackendError when it is not in use."""
        self._free.append(self._known(slot_id).index)
        del self._used[slot_id]

    def ids(self) -> list[int]:
        """Returns the ids of the slots that are in use."""
        return list(self._used)

    def index(self, slot_id: int) -> int:
        """Returns the index of a slot, 0 .. slots - 1; BackendError when it is not in use."""
        return self._known(slot_id).index

    def length(self, slot_id: int) -> int:
        """Returns how many positions a slot holds; BackendError when it is not in use."""
        return self._known(slot_id).length

    def require_room(self, slot_id: int, num_tokens: int) -> None:
        """Raises CacheOverflow when `num_tokens` more positions do not fit."""
        length = self._known(slot_id).length
        if length + num_tokens > self.max_length:
            raise CacheOverflow(
                f'{num_tokens} positions do not fit into KV slot {slot_id}',
                f'it holds {length} of at most {self.max_length}',
                'Shorten the prompt or raise model.max_length',
            )

    def require_length(self, slot_id: int, length: int) -> None:
        """Raises BackendError when the slot does not hold `length` positions."""
        held = self._known(slot_id).length
        if not 0 <= length <= held:
            raise BackendError(
                f'length {length} of KV slot {slot_id} is out of range',
                f'it holds {held} positions',
            )

    def set_length(self, slot_id: int, length: int) -> None:
        """Notes how many positions a slot holds from now on."""
        self._known(slot_id).length = length

    def _known(self, slot_id: int) -> _Slot:
        try:
            return self._used[slot_id]
        except (KeyError, TypeError):
            raise BackendError(
                f'KV slot {slot_id} is not in use', 'it was freed, or its backend was closed'
            ) from None
