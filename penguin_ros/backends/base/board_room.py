# SPDX-License-Identifier: Apache-2.0
"""The memory that a GPU has, its own or the machine's, and the KV slots that it has room for. No
CUDA is needed here.
"""

from __future__ import annotations

from penguin_ros.backends.base.slots import SlotDefaults, slots_within
from penguin_ros.board_facts import memory_facts
from penguin_ros.board_memory.board_classes import class_of
from penguin_ros.board_memory.memory_plan import Room
from penguin_ros.config import ModelConfig


def room_here(free_bytes: int, total_bytes: int, is_shared: bool) -> Room:
    """Returns the memory that there is: what the GPU says, but where it shares the machine's what
    the kernel says, which counts the page cache as available.
    """
    memory = memory_facts()
    if is_shared and memory.available:
        return Room(memory.total, memory.available, True)
    return Room(total_bytes, free_bytes, is_shared)


def slots_of(config: ModelConfig, room: Room, bytes_of_slot: int) -> int:
    """Returns how many KV slots there are: what the settings say, else as many as are usual on a
    board with such memory.
    """
    if not room.is_shared:
        return slots_within(config, bytes_of_slot)
    usual = class_of(room.total).sizes.slots
    all_bytes = max(SlotDefaults().all_bytes, usual * bytes_of_slot)
    return slots_within(config, bytes_of_slot, SlotDefaults(usual, all_bytes))
