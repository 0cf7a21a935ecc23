# SPDX-License-Identifier: Apache-2.0
"""The bookkeeping of KV slots: which are in use, how many positions each holds. Knows no tensors."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, CacheOverflow, NoFreeSlot

# Numbers are never reused, by any table: a slot that was freed, or belongs to a closed or another
# backend, is refused instead of showing somebody else's positions.
_numbers = itertools.count(1)


def slots_within(config: ModelConfig, slot_bytes: int) -> int:
    """How many slots of `slot_bytes` there are: kv_slots, or fewer when these exceed kv_bytes; at
    least one.
    """
    return max(1, min(config.kv_slots, config.kv_bytes // max(1, slot_bytes)))


@dataclass
class _Slot:
    place: int
    length: int


class SlotTable:
    """`slots` places of `max_length` positions each, handed out under numbers."""

    def __init__(self, slots: int, max_length: int) -> None:
        self.max_length = max_length
        self._slots = slots
        self._free = list(reversed(range(slots)))
        self._used: dict[int, _Slot] = {}

    def take(self, length: int = 0) -> int:
        """The number of a slot that holds `length` positions; NoFreeSlot when all are in use."""
        if not self._free:
            raise NoFreeSlot(
                f'all {self._slots} KV slots are in use',
                'each running request holds one',
                'Free a slot, or raise model.kv_slots',
            )
        number = next(_numbers)
        self._used[number] = _Slot(self._free.pop(), length)
        return number

    def release(self, slot: int) -> None:
        """Gives a slot back; BackendError when it is not in use."""
        self._free.append(self._known(slot).place)
        del self._used[slot]

    def place(self, slot: int) -> int:
        """Where the slot lies, 0 .. slots - 1; BackendError when it is not in use."""
        return self._known(slot).place

    def length(self, slot: int) -> int:
        """Positions that the slot holds; BackendError when it is not in use."""
        return self._known(slot).length

    def require_room(self, slot: int, count: int) -> None:
        """CacheOverflow when `count` more positions do not fit."""
        length = self._known(slot).length
        if length + count > self.max_length:
            raise CacheOverflow(
                f'{count} positions do not fit into KV slot {slot}',
                f'it holds {length} of at most {self.max_length}',
                'Shorten the prompt or raise model.max_length',
            )

    def require_length(self, slot: int, length: int) -> None:
        """BackendError when the slot does not hold `length` positions."""
        held = self._known(slot).length
        if not 0 <= length <= held:
            raise BackendError(
                f'length {length} of KV slot {slot} is out of range', f'it holds {held} positions'
            )

    def set_length(self, slot: int, length: int) -> None:
        """What the slot holds from now on."""
        self._known(slot).length = length

    def _known(self, slot: int) -> _Slot:
        try:
            return self._used[slot]
        except (KeyError, TypeError):
            raise BackendError(
                f'KV slot {slot} is not in use', 'it was freed, or its backend was closed'
            ) from None
