# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity in a cache of the TensorRT backend end with the request that made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import frame, run_to_end, tokens
from support.tensorrt_backend_checks import assert_close, decoder_of

from penguin_ros.backends.base.backend import Chunk, FeatureSpan
from penguin_ros.backends.tensorrt.backend import TensorrtBackend


def poisoned(backend: TensorrtBackend) -> Chunk:
    """A chunk that leaves NaN in the cache: its visual features are infinite."""
    features: Any = run_to_end(backend.encode([frame(1)]))[0][0]
    assert backend._session is not None
    row = backend._session.encoder.token_bytes['image_embeds']
    # The fake GPU refuses NaN in inputs; infinity passes and becomes NaN in the first norm.
    infinite = np.full(6 * row // 4, np.inf, np.float32)
    machine_gpu = decoder_of(backend)._device
    buffer = machine_gpu.allocate_host(infinite.nbytes)
    buffer.view(np.dtype(np.float32), infinite.shape)[...] = infinite
    machine_gpu.copy(features.projected_address, buffer.address, infinite.nbytes)
    return Chunk(tokens(1, 20), (FeatureSpan(2, features, 0, 6),))


def test_logits_that_are_not_finite_are_seen_although_the_device_chooses(
    backend: TensorrtBackend,
) -> None:
    assert not np.isfinite(backend.forward_greedy(backend.new_slot(), poisoned(backend)).logit)
    assert not np.isfinite(
        backend.forward_greedy_each(backend.new_slot(), poisoned(backend), [5, -1])[1].logit
    )
    fresh = backend.new_slot()
    assert np.isfinite(backend.forward_greedy(fresh, Chunk(tokens(1, 1))).logit)
    assert np.isfinite(
        [best.logit for best in backend.forward_greedy_each(fresh, Chunk(tokens(1, 5)), range(5))]
    ).all()


def freed(backend: TensorrtBackend, slot: int) -> int:
    """Frees the slot; the next request gets the same memory."""
    backend.free_slot(slot)
    return backend.new_slot()


def truncated(backend: TensorrtBackend, slot: int) -> int:
    backend.truncate(slot, 5)
    return slot


def forked_into(backend: TensorrtBackend, slot: int) -> int:
    """Copies another request's first five positions over the slot."""
    other = backend.new_slot()
    backend.forward(other, Chunk(tokens(1, 9)))
    backend.free_slot(slot)
    return backend.fork(other, 5)


@pytest.mark.parametrize('more', [0, 30, 280, 600])
@pytest.mark.parametrize('how', [freed, truncated, forked_into])
def test_values_that_are_not_finite_do_not_outlive_their_request(
    backend: TensorrtBackend, how: Callable[..., int], more: int
) -> None:
    """Masked positions count zero times their value, so NaN behind the end of a slot would spoil
    whoever has it next.
    """
    slot, ids = backend.new_slot(), tokens(1, 9)
    expected = backend.forward(slot, Chunk(ids), [-1])[0]
    backend.forward(slot, poisoned(backend))
    if more:
        assert np.isnan(backend.forward(slot, Chunk(tokens(3, more)), [-1])).all()
    slot = how(backend, slot)
    logits = backend.forward(slot, Chunk(ids[backend.slot_length(slot) :]), [-1])[0]
    assert_close(logits, expected)
    longer = backend.forward(slot, Chunk(tokens(4, 400)), [-1])[0]
    fresh = backend.new_slot()
    backend.forward(fresh, Chunk(ids))
    assert_close(longer, backend.forward(fresh, Chunk(tokens(4, 400)), [-1])[0])


def test_a_prompt_in_chunks_zeroes_nothing_twice(
    backend: TensorrtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions behind a slot that only grows stay as finite as they were."""
    decoder, zeroed = decoder_of(backend), []
    zero = decoder._device.zero_rows
    monkeypatch.setattr(
        decoder._device,
        'zero_rows',
        lambda target, size, rows: (zeroed.append(size), zero(target, size, rows)),
    )
    slot = backend.new_slot()
    for start in range(0, 900, 100):
        backend.forward(slot, Chunk(tokens(start, 100)))
    position = decoder.cache.shape.position_bytes
    assert sum(zeroed) <= (0 if decoder.sizes.is_in_place else 3 * 256 * position)
    before = len(zeroed)
    backend.free_slot(slot)
    backend.forward(backend.new_slot(), Chunk(tokens(1, 9)))
    assert zeroed[before:] == [900 * position] or not decoder.sizes.is_in_place
