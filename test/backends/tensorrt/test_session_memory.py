# SPDX-License-Identifier: Apache-2.0
"""Memory of the TensorRT backend: all of it comes back, too little is an error, a failed run
changes nothing.
"""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from support.backend_kinds import frame, run_to_end, tokens
from support.fake_gpu.bundles import MAX_LENGTH, opened
from support.fake_gpu.installed import Machine
from support.tensorrt_backend_checks import assert_close, decode

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, OutOfMemory


def test_close_gives_back_all_memory(machine: Machine, bundle: Path) -> None:
    before = machine.gpu.used_bytes
    for _ in range(2):
        backend = opened(machine, bundle)
        features = run_to_end(backend.encode([frame(1), frame(2)]))[0]
        decode(backend, backend.new_slot(), 5)
        assert machine.gpu.used_bytes > before
        backend.close()
        del features
        assert machine.gpu.used_bytes == before and not machine.gpu.graphs


def test_features_that_nobody_holds_make_room_for_others(
    backend: TensorrtBackend, machine: Machine
) -> None:
    run_to_end(backend.encode([frame(1)]))
    gc.collect()
    used = machine.gpu.used_bytes
    for seed in range(20):
        run_to_end(backend.encode([frame(seed)]))
    assert machine.gpu.used_bytes == used
    held = run_to_end(backend.encode([frame(1), frame(2)]))[0]
    assert machine.gpu.used_bytes > used and held


def test_a_slot_takes_memory_when_it_is_first_used(
    backend: TensorrtBackend, machine: Machine
) -> None:
    """Slot 0 is there from the start, since its place is where graphs are made."""
    cache, used = backend._session.decoder.cache, machine.gpu.used_bytes
    slots = [backend.new_slot() for _ in range(3)]
    backend.forward(slots[0], Chunk(tokens(1, 5)))
    assert machine.gpu.used_bytes - used < cache.shape.slot_bytes
    before = machine.gpu.used_bytes
    backend.forward(slots[1], Chunk(tokens(1, 5)))
    assert machine.gpu.used_bytes - before == cache.shape.slot_bytes
    for slot in slots[:2]:
        backend.free_slot(slot)
    again = backend.new_slot()
    backend.forward(again, Chunk(tokens(1, 5)))
    assert machine.gpu.used_bytes - before == cache.shape.slot_bytes, 'it is kept for the next'


def test_memory_for_intermediate_values_follows_the_frames_that_came(
    backend: TensorrtBackend, machine: Machine
) -> None:
    session = backend._session
    largest = max(engine.workspace_bytes() for engine in session._engines)
    workspace = session.encoder._context._workspace
    run_to_end(backend.encode([frame(1)]))
    small = workspace.place.byte_count
    assert 1024 < small < largest
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 900)), [-1])
    larger = workspace.place.byte_count
    assert small < larger <= 1.25 * largest
    run_to_end(backend.encode([frame(2)]))
    assert workspace.place.byte_count == larger


def test_too_little_memory_is_an_error_with_the_numbers_and_leaves_nothing_behind(
    machine: Machine, bundle: Path
) -> None:
    opened(machine, bundle).close()
    before, total = machine.gpu.used_bytes, machine.gpu.total_bytes
    made = TensorrtBackend(open_bundle(bundle), ModelConfig(max_length=MAX_LENGTH, kv_slots=40))
    machine.gpu.total_bytes = before + 100_000
    try:
        with pytest.raises(OutOfMemory, match=r'no room for .* MB: .* are free.*kv_slots'):
            made.open()
    finally:
        machine.gpu.total_bytes = total
    assert machine.gpu.used_bytes == before
    with pytest.raises(BackendError, match='not open'):
        made.new_slot()
    made.open()
    made.close()


def test_a_failed_run_leaves_the_slot_as_it_was(
    backend: TensorrtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penguin_ros.backends.tensorrt.engine import Context

    slot, ids = backend.new_slot(), tokens(1, 9)
    backend.forward(slot, Chunk(ids[:5]))
    with monkeypatch.context() as patch:
        patch.setattr(
            Context, 'enqueue', lambda self: (_ for _ in ()).throw(BackendError('it failed'))
        )
        with pytest.raises(BackendError, match='it failed'):
            backend.forward(slot, Chunk(tokens(2, 20)))
    assert backend.slot_length(slot) == 5
    fresh = backend.new_slot()
    expected = backend.forward(fresh, Chunk(ids), [-1])[0]
    assert_close(backend.forward(slot, Chunk(ids[5:]), [-1])[0], expected)
