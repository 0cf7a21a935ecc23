# SPDX-License-Identifier: Apache-2.0
"""The plan of memory for running a network in own kernels, made before anything is loaded. What
follows from shapes is what the backend allocates; the rest is estimated and says so.

Importing this file needs no CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.backends.base.board_room import slots_of
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import NETWORK
from penguin_ros.backends.cuda.kernel_set import kernel_formats
from penguin_ros.backends.cuda.slots import slot_shape
from penguin_ros.board_memory.board_classes import WITH_OWN_MEMORY, class_of
from penguin_ros.board_memory.memory_plan import (
    Item,
    MemoryPlan,
    Room,
    host_items,
    kept_free,
    shown,
)
from penguin_ros.board_memory.needs import FEATURE_POOL_BYTES, RUNTIME_BYTES, RunSizes
from penguin_ros.config import ModelConfig
from penguin_ros.errors import OutOfMemory
from penguin_ros.kernels import buffers
from penguin_ros.kernels.network import Network, network_of
from penguin_ros.kernels.packing import filled_up
from penguin_ros.kernels.rows_set import MANY
from penguin_ros.kernels.table import ITEM_BYTES

MAX_ROWS, MAX_WANTED = 512, 64
"""Rows of one pass, and of those whose logits are wanted."""

GRAPH_BYTES = 30_000_000
"""Loaded kernels, and five passes as CUDA graphs. An estimate."""


@dataclass(frozen=True)
class StoredBytes:
    """What is read from files into the GPU's memory."""

    weights: int
    table: int


def slot_bytes(network: Network, max_length: int) -> int:
    """Returns the bytes of a KV slot."""
    llm = network.llm
    number_bytes = ITEM_BYTES[network.formats.kept]
    return slot_shape((llm.layers, llm.kv_heads, llm.head_dim), max_length, number_bytes).slot_bytes


def kernel_plan(
    title: str, network: Network, stored: StoredBytes, run: RunSizes, room: Room
) -> MemoryPlan:
    """Returns the plan of running a network."""
    pitch = slot_shape((1, 1, 1), run.max_length, 2).pitch
    patches = filled_up(run.max_patches, MANY)
    rooms = (
        buffers.Room(MAX_ROWS, pitch, 1, 0, MAX_ROWS, MAX_WANTED),
        buffers.Room(0, 0, 0, patches, 0),
    )
    made = (
        *buffers.decoder_buffers(network, rooms[0]),
        *buffers.encoder_buffers(network, rooms[1]),
    )
    working = sum(buffer.byte_count for buffer in made if buffer.name not in ELSEWHERE)
    pinned = sum(buffer.byte_count for buffer in made if buffer.name in PINNED)
    kept = 'int8' if network.formats.cache else f'{8 * network.formats.compute_bytes} bits'
    slots = run.slots * slot_bytes(network, run.max_length)
    items = (
        Item('weights', stored.weights, 'as the kernels read them'),
        Item('embedding table', stored.table, ''),
        Item('KV slots', slots, f'{run.slots} of {run.max_length} positions, {kept}'),
        Item('buffers', working, f'{MAX_ROWS} rows, {run.max_patches} patches'),
        *((Item('pinned', pinned, 'what the host shares'),) if room.is_shared else ()),
        Item('features', run.feature_bytes + FEATURE_POOL_BYTES, 'model.encoder_cache_bytes'),
        Item('kernels', GRAPH_BYTES, 'estimate; with CUDA graphs'),
        Item('runtime', RUNTIME_BYTES, 'estimate; CUDA, Python'),
        *host_items(run, room),
        *kept_free(room),
    )
    return MemoryPlan(title, items, room)


PINNED = ('numbers', 'encoder.rope', 'mask', 'row_numbers', 'tokens', 'angles', 'level_table')
"""What the host writes, in pinned memory first; all else that it shares is small."""

ELSEWHERE = ('levels', 'encoder.x')
"""Bytes of pixels lie where numbers would, the encoder's residual stream in a frame's block."""


def bundle_plan(bundle: Bundle, config: ModelConfig, room: Room) -> MemoryPlan:
    """Returns the plan of running a bundle with these settings."""
    manifest = bundle.manifest
    network = network_of(manifest.shape, kernel_formats(manifest.precision, manifest.table.dtype))
    length = min(config.max_length, manifest.max_length)
    run = RunSizes(
        slots=slots_of(config, room, slot_bytes(network, length)),
        max_length=length,
        max_rows=MAX_ROWS,
        max_patches=most_patches(room),
        feature_bytes=config.encoder_cache_bytes,
    )
    stored = StoredBytes(manifest.files[NETWORK].bytes, manifest.files[manifest.table.file].bytes)
    return kernel_plan(f'{bundle.name} ({manifest.precision.linears})', network, stored, run, room)


def check_plan(bundle: Bundle, config: ModelConfig, room: Room) -> MemoryPlan:
    """Returns the plan; OutOfMemory when the memory does not suffice and the settings ask for this
    check.
    """
    plan = bundle_plan(bundle, config, room)
    if plan.fits or not config.memory_check:
        return plan
    raise OutOfMemory(
        f'{bundle.path} would not fit into memory',
        f'{plan.numbers()}, {shown(room.available)} are available',
        'Lower model.max_length or model.kv_slots, build it with --kv int8, or stop other '
        'programs. To try nevertheless, set model.memory_check to false',
    )


def most_patches(room: Room) -> int:
    """Returns the patches of a frame that there is memory for."""
    sizes = class_of(room.total).sizes if room.is_shared else WITH_OWN_MEMORY
    return sizes.max_patches
