# SPDX-License-Identifier: Apache-2.0
"""Whether there is memory for building an engine, before hours are spent on it.

The figures are estimates from reports of others, on the safe side; none could be measured here.
"""

from __future__ import annotations

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import DECODER
from penguin_ros.backends.tensorrt.library import Library
from penguin_ros.board_facts import memory_facts
from penguin_ros.board_memory.memory_plan import MemoryPlan, Room, build_plan, shown
from penguin_ros.board_memory.needs import FLOAT_BYTES, ModelSizes, RunSizes
from penguin_ros.board_memory.page_cache import drop_below
from penguin_ros.errors import NotEnoughSpace
from penguin_ros.export.resources import free_memory
from penguin_ros.export.tensorrt.profiles import ProfileSizes

LEAN_SINCE = (10, 13)
"""From this TensorRT on the parser copies weights that lie in files of their own no more."""

SMALL_CMA_BYTES = 400_000_000
"""Less contiguous memory than this was too little for the head on an Orin Nano: 256 MB, the usual
pool.
"""

CMA_REMEDY = (
    'boot with cma=950M, added to APPEND in /boot/extlinux/extlinux.conf, since only {free:.0f} MB '
    'of contiguous memory are free, '
)
REMEDY = (
    'Run without a desktop (sudo systemctl isolate multi-user.target), stop other programs, '
    '{cma}or build with a smaller --max-length, --max-rows or --max-patches, or more parts of the '
    'head'
)


def check_memory(
    part: str, weights: int, bundle: Bundle, sizes: ProfileSizes, room: Room, library: Library
) -> None:
    """Raises NotEnoughSpace with the numbers and the remedy. Where memory is shared, files of the
    bundle leave the page cache first: the GPU does not get all of what is cached.
    """
    if room.is_shared:
        drop_below(bundle.path)
    plan = _plan(part, weights, bundle, sizes, room, library)
    if not plan.fits:
        raise NotEnoughSpace(
            f'building the engine of the {part} needs about {shown(plan.needed)} of memory',
            f'{shown(room.available)} are free; {plan.numbers()}',
            remedy(),
            plan.needed,
            room.available,
        )


def build_room(free_bytes: int, total_bytes: int, is_shared: bool) -> Room:
    """Returns the memory for a build: with `is_shared` the machine's, which on a Jetson is the
    GPU's too, and which TensorRT for RTX builds in; else the GPU's, as it says.
    """
    return Room(total_bytes, free_memory() if is_shared else free_bytes, is_shared)


def remedy() -> str:
    """Returns what to do when memory runs out while building, on this board."""
    memory = memory_facts()
    is_small = 0 < memory.cma_total < SMALL_CMA_BYTES
    return REMEDY.format(cma=CMA_REMEDY.format(free=memory.cma_free / 1e6) if is_small else '')


def _plan(
    part: str, weights: int, bundle: Bundle, sizes: ProfileSizes, room: Room, library: Library
) -> MemoryPlan:
    """The parser's copies lie in the machine's memory, so a GPU with its own holds one less."""
    precision, shape = bundle.manifest.precision, bundle.manifest.shape
    compute = FLOAT_BYTES[precision.compute]
    encoder = FLOAT_BYTES.get(precision.vision, compute)
    model = ModelSizes(shape, weights, weights, compute, encoder)
    run = RunSizes(0, bundle.manifest.max_length, sizes.max_tokens, sizes.max_patches)
    version = tuple(int(word) for word in library.version.split('.')[:2])
    is_lean = library.is_rtx or version >= LEAN_SINCE or not room.is_shared
    return build_plan('', 'decoder' if part == DECODER else part, model, run, room, is_lean)
