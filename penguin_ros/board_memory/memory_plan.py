# SPDX-License-Identifier: Apache-2.0
"""One plan of a model's memory, made before anything is loaded: what it takes, what the board has,
the verdict, and the sizes that would fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from penguin_ros.board_memory.needs import (
    FEATURE_POOL_BYTES,
    GRAPH_BYTES,
    GRAPHS,
    ROS_BYTES,
    RUNTIME_BYTES,
    ModelSizes,
    RunSizes,
    buffer_bytes,
    build_bytes,
    decoder_scratch,
    encoder_scratch,
    scratch,
    slot_bytes,
)

LEAST_SLOTS, LEAST_LENGTH, LEAST_PATCHES, LEAST_ROWS = 2, 1536, 1024, 256
"""What is not gone below when sizes are looked for that fit: a caption and the question that
preempts it; 1024 visual tokens, a prompt and an answer; a picture of 1024 visual tokens.
"""

KEPT_FREE_BYTES = 500_000_000
"""What a Jetson must keep free: its allocator fails before all that counts as available is used, by
reports of others. An estimate.
"""


@dataclass(frozen=True)
class Item:
    """One thing that takes memory, and a word on how it comes to its bytes."""

    name: str
    byte_count: int
    note: str = ''


@dataclass(frozen=True)
class Room:
    """The memory that there is: `available` of `total` bytes. With `is_shared` the GPU uses the
    machine's memory, which Python and ROS live in too.
    """

    total: int
    available: int
    is_shared: bool


@dataclass(frozen=True)
class MemoryPlan:
    """What running (or building) `title` takes of `room`."""

    title: str
    items: tuple[Item, ...]
    room: Room

    @property
    def needed(self) -> int:
        """The sum of all items."""
        return sum(item.byte_count for item in self.items)

    @property
    def spare(self) -> int:
        """What is left of the available memory; negative when it does not suffice."""
        return self.room.available - self.needed

    @property
    def fits(self) -> bool:
        """Whether the available memory suffices."""
        return self.spare >= 0

    def numbers(self) -> str:
        """Returns the plan as part of a sentence."""
        largest = sorted(self.items, key=lambda item: -item.byte_count)[:4]
        parts = ', '.join(f'{item.name} {shown(item.byte_count)}' for item in largest)
        return f'{shown(self.needed)} are needed ({parts} and less)'

    def lines(self) -> list[str]:
        """Returns the plan as a table for people."""
        rows = [(item.name, item.byte_count, item.note) for item in self.items]
        rows += [
            ('sum', self.needed, ''),
            ('available', self.room.available, f'of {shown(self.room.total)}'),
            ('to spare' if self.fits else 'lacking', abs(self.spare), ''),
        ]
        width = max(len(name) for name, _, _ in rows)
        return [
            self.title,
            *(
                f'  {name:{width}}  {size / 1e9:6.2f} GB  {note}'.rstrip()
                for name, size, note in rows
            ),
        ]


def run_plan(title: str, model: ModelSizes, run: RunSizes, room: Room) -> MemoryPlan:
    """Returns the plan of running a model."""
    slot = slot_bytes(model, run.max_length)
    items = (
        Item('decoder', model.decoder_bytes, 'weights'),
        Item('encoder', model.encoder_bytes, 'weights'),
        *_of_kernels(model),
        Item('KV slots', run.slots * slot, f'{run.slots} of {run.max_length} positions'),
        Item('scratch', scratch(model, run), _scratch_note(model, run)),
        Item('buffers', buffer_bytes(model, run), 'inputs, logits, new keys and values'),
        Item('features', run.feature_bytes + FEATURE_POOL_BYTES, 'model.encoder_cache_bytes'),
        Item('CUDA graphs', GRAPHS * GRAPH_BYTES, f'estimate; {GRAPHS} contexts'),
        Item('runtime', RUNTIME_BYTES, 'estimate; CUDA, TensorRT, Python'),
        *host_items(run, room),
        *kept_free(room),
    )
    return MemoryPlan(title, items, room)


def _of_kernels(model: ModelSizes) -> Iterator[Item]:
    if model.kernel_bytes:
        note = 'weights of the LLM once more, and the embedding table: an engine shares neither'
        yield Item('own kernels', model.kernel_bytes, note)


def build_plan(
    title: str, part: str, model: ModelSizes, run: RunSizes, room: Room, is_lean: bool = False
) -> MemoryPlan:
    """Returns the plan of building the engine of the 'decoder' or of the encoder."""
    is_decoder = part == 'decoder'
    weights = model.decoder_bytes if is_decoder else model.encoder_bytes
    activations = (
        decoder_scratch(model, run)
        if is_decoder
        else encoder_scratch(model, run.max_patches, run.is_fused)
    )
    rest = build_bytes(0, 0, is_lean)
    copies = (build_bytes(weights, 0, is_lean) - rest) // max(weights, 1)
    items = (
        Item('weights', copies * weights, f'{copies} times {shown(weights)}'),
        Item('activations', activations, f'{run.max_rows} rows' if is_decoder else _patches(run)),
        Item('builder', rest, 'estimate; TensorRT, CUDA, tactics'),
    )
    return MemoryPlan(title, items, room)


def fitting_sizes(model: ModelSizes, run: RunSizes, room: Room) -> RunSizes | None:
    """Returns the first sizes that fit when they are lowered one after the other; None when none
    do.
    """
    sizes = (run, *_lowered(run))
    return next((one for one in sizes if run_plan('', model, one, room).fits), None)


def changes(run: RunSizes, fitting: RunSizes) -> str:
    """Returns what to type to get from `run` to what fits, as options and settings."""
    found = [
        f'{option} {after}'
        for option, before, after in (
            ('--max-patches', run.max_patches, fitting.max_patches),
            ('--max-rows', run.max_rows, fitting.max_rows),
            ('--max-length', run.max_length, fitting.max_length),
            ('model.kv_slots', run.slots, fitting.slots),
        )
        if before != after
    ]
    return ', '.join(found)


def shown(byte_count: int) -> str:
    """Returns bytes for people."""
    return f'{byte_count / 1e9:.2f} GB'


def _lowered(run: RunSizes) -> Iterator[RunSizes]:
    """Yields ever smaller sizes; engines that are there already keep theirs."""
    if not run.scratch_bytes:
        for patches in (2048, 1536, LEAST_PATCHES):
            if patches < run.max_patches:
                run = replace(run, max_patches=patches)
                yield run
        if run.max_rows > LEAST_ROWS:
            run = replace(run, max_rows=LEAST_ROWS)
            yield run
    while run.slots > LEAST_SLOTS:
        run = replace(run, slots=run.slots - 1)
        yield run
    for length in (4096, 3072, 2048, LEAST_LENGTH):
        if length < run.max_length:
            run = replace(run, max_length=length)
            yield run


def host_items(run: RunSizes, room: Room) -> tuple[Item, ...]:
    """Returns what a node takes where the GPU uses the machine's memory."""
    camera = ROS_BYTES + run.camera_bytes
    host = (Item('ROS 2, one camera', camera, 'estimate; buffer.max_bytes'),)
    return host if room.is_shared else ()


def kept_free(room: Room) -> tuple[Item, ...]:
    """Returns what a board must keep free."""
    return (Item('kept free', KEPT_FREE_BYTES, 'estimate'),) if room.is_shared else ()


def _scratch_note(model: ModelSizes, run: RunSizes) -> str:
    if run.scratch_bytes:
        return 'as the engines say'
    if run.is_fused:
        return f'{_patches(run)}, attention fused'
    fused = scratch(model, replace(run, is_fused=True))
    return f'{_patches(run)}, attention not fused; {shown(fused)} where it is'


def _patches(run: RunSizes) -> str:
    return f'{run.max_patches} patches'
