# SPDX-License-Identifier: Apache-2.0
"""The plan of memory for a bundle with its engines, made before they are loaded, and the slots that
the board has room for.

Importing this file needs neither TensorRT nor CUDA; without engines the plan goes by the graphs.
"""

from __future__ import annotations

from penguin_ros.backends.base.board_room import slots_of
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import (
    DECODER,
    ENCODER,
    FIXED_LENGTH,
    FUSED,
    NETWORK,
    Manifest,
)
from penguin_ros.backends.tensorrt.decode_choice import BY_KERNELS
from penguin_ros.backends.tensorrt.engine_manifest import (
    EngineManifest,
    EngineSpec,
)
from penguin_ros.board_memory.board_classes import WITH_OWN_MEMORY, class_of
from penguin_ros.board_memory.memory_plan import (
    MemoryPlan,
    Room,
    changes,
    fitting_sizes,
    run_plan,
    shown,
)
from penguin_ros.board_memory.needs import FLOAT_BYTES, ModelSizes, RunSizes, slot_bytes
from penguin_ros.config import ModelConfig
from penguin_ros.errors import OutOfMemory


def bundle_plan(
    bundle: Bundle, engines: EngineManifest | None, config: ModelConfig, room: Room
) -> MemoryPlan:
    """Returns the plan of running a bundle with these settings."""
    model, run = _sizes(bundle.manifest, engines, config, room)
    return run_plan(f'{bundle.name} ({bundle.manifest.precision.linears})', model, run, room)


def check_plan(
    bundle: Bundle, engines: EngineManifest, config: ModelConfig, room: Room
) -> MemoryPlan:
    """Returns the plan; OutOfMemory, with sizes that would fit, when the memory does not suffice
    and the settings ask for this check.
    """
    plan = bundle_plan(bundle, engines, config, room)
    if plan.fits or not config.memory_check:
        return plan
    model, run = _sizes(bundle.manifest, engines, config, room)
    fitting = fitting_sizes(model, run, room)
    fix = 'Stop other programs and the desktop, or take a smaller model'
    if fitting is not None:
        fix = f'This would fit: {changes(run, fitting)}'
    raise OutOfMemory(
        f'{bundle.path} would not fit into memory',
        f'{plan.numbers()}, {shown(room.available)} are available',
        f'{fix}. To try nevertheless, set model.memory_check to false',
    )


def _sizes(
    manifest: Manifest, engines: EngineManifest | None, config: ModelConfig, room: Room
) -> tuple[ModelSizes, RunSizes]:
    model = bundle_sizes(manifest, engines, config.decode)
    decoder, encoder = (engines.engine(part) if engines else None for part in (DECODER, ENCODER))
    is_in_place = decoder is not None and decoder.variant == FIXED_LENGTH
    length = manifest.max_length if is_in_place else min(config.max_length, manifest.max_length)
    usual = class_of(room.total).sizes if room.is_shared else WITH_OWN_MEMORY
    built = [engine for engine in (decoder, encoder) if engine is not None]
    run = RunSizes(
        slots=slots_of(config, room, slot_bytes(model, length)),
        max_length=length,
        max_rows=_largest(decoder, 'rows', usual.max_rows),
        max_patches=_largest(encoder, 'patches', usual.max_patches),
        is_fused=bool(built) and all(_is_fused(engine) for engine in built),
        is_in_place=is_in_place,
        scratch_bytes=max((engine.scratch_bytes for engine in built), default=0),
        feature_bytes=config.encoder_cache_bytes,
    )
    return model, run


def bundle_sizes(
    manifest: Manifest, engines: EngineManifest | None = None, decode: str = BY_KERNELS
) -> ModelSizes:
    """Returns what a bundle holds: its engines, and its graphs where there are none; kernels that
    decode, where `decode` (see the setting) and the engines say so, have weights and an embedding
    table of their own.
    """
    precision = manifest.precision
    encoder = FLOAT_BYTES.get(precision.vision, FLOAT_BYTES[precision.compute])
    return ModelSizes(
        manifest.shape,
        _weights(manifest, engines, DECODER),
        _weights(manifest, engines, ENCODER),
        FLOAT_BYTES[precision.compute],
        encoder,
        _kernel_bytes(manifest, engines, decode),
    )


def _kernel_bytes(manifest: Manifest, engines: EngineManifest | None, decode: str) -> int:
    decoder = engines.engine(DECODER) if engines else None
    has_steps = decoder is not None and len(decoder.profiles) > 1
    if NETWORK not in manifest.files or (decode != BY_KERNELS and has_steps):
        return 0
    return sum(manifest.files[name].bytes for name in (NETWORK, manifest.table.file))


def _weights(manifest: Manifest, engines: EngineManifest | None, part: str) -> int:
    engine = engines.engine(part) if engines else None
    if engine is not None:
        return engine.content.bytes
    names = {name for graph in manifest.graphs if graph.part == part for name in graph.needs}
    return sum(manifest.files[name].bytes for name in names)


def _largest(engine: EngineSpec | None, dimension: str, usual: int) -> int:
    if engine is None:
        return usual
    return max(profile[dimension][2] for profile in engine.profiles if dimension in profile)


def _is_fused(engine: EngineSpec) -> bool:
    return engine.variant in (FIXED_LENGTH, FUSED) and not engine.is_decomposable
