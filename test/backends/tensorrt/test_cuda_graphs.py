# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs of the TensorRT backend: when they are captured, launched, given up and evicted."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from support.backend_kinds import tokens
from support.fake_gpu.bundles import opened
from support.fake_gpu.installed import Machine
from support.tensorrt_backend_checks import assert_close, decode, decoder_of

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.tensorrt.backend import TensorrtBackend

BUCKETS = 5  # of 1040 positions


def test_every_length_has_a_graph_before_the_first_question(backend: TensorrtBackend) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 250)))
    counts = decoder_of(backend).graphs.counts
    assert (counts.plain, counts.captured, counts.launched) == (0, BUCKETS, 0)
    decode(backend, slot, 16)  # positions 250 .. 265: two lengths
    backend.truncate(slot, 100)
    decode(backend, slot, 5)
    assert (counts.plain, counts.captured, counts.launched) == (0, BUCKETS, 21)
    assert counts.failure == ''
    stats = backend.stats()
    assert stats.slowdown == '' and stats.counts == {
        'CUDA graphs captured': BUCKETS,
        'CUDA graphs evicted': 0,
        'steps with CUDA graph': 21,
        'steps without CUDA graph': 0,
        'ms for making CUDA graphs': round(counts.made_ms),
    }


def test_what_contexts_and_graphs_took_is_logged(
    machine: Machine, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'penguin_ros.backends.tensorrt.cuda_graphs')
    opened(machine, bundle).close()
    lines = [record.getMessage() for record in caplog.records]
    for what in ('context', 'CUDA graph'):
        assert sum(line.startswith(f'{what} for ') for line in lines) == BUCKETS
    assert all(line.endswith(' ms') for line in lines)


def test_slots_share_the_graphs_whatever_order_they_decode_in(backend: TensorrtBackend) -> None:
    """Steps in blocks and in turns, after growth, truncation and forks, give what a slot gives that
    is alone.
    """
    counts, numbers = decoder_of(backend).graphs.counts, np.random.default_rng(0)
    slots = [backend.new_slot() for _ in range(2)]
    history = [tokens(1, 240), tokens(2, 270)]
    for slot, ids in zip(slots, history[:2], strict=True):
        backend.forward(slot, Chunk(ids))
    slots.append(backend.fork(slots[1], 50))
    history.append(history[1][:50])
    found = {}
    for turn in range(24):
        index = int(numbers.integers(3)) if turn < 12 else turn // 4 % 3
        if turn in (7, 17):
            history[index] = history[index][:20]
            backend.truncate(slots[index], 20)
        history[index] = np.append(history[index], tokens(turn, 1))
        found[index] = backend.forward(slots[index], Chunk(history[index][-1:]), [0])[0]
    assert counts.captured == BUCKETS and counts.launched > 8
    for index, slot in enumerate(slots):
        backend.truncate(slot, 0)
        assert_close(backend.forward(slot, Chunk(history[index]), [-1])[0], found[index])


def test_slots_that_take_turns_are_not_carried_to_and_fro(backend: TensorrtBackend) -> None:
    decoder = decoder_of(backend)
    slots = [backend.new_slot() for _ in range(2)]
    place = decoder.cache.tensor(0, 0)
    for _ in range(3):
        for slot in slots:
            decode(backend, slot, 1)
    assert decoder.cache.tensor(0, 0) == place
    decode(backend, slots[1], 1)  # the second in a row
    assert decoder.cache.tensor(1, 0) == place != decoder.cache.tensor(0, 0)


def test_without_captures_every_step_is_queued_and_the_reason_kept(
    machine: Machine, bundle: Path
) -> None:
    machine.gpu.can_capture = False
    backend = opened(machine, bundle)
    try:
        slot = backend.new_slot()
        backend.forward(slot, Chunk(tokens(1, 30)))
        decode(backend, slot, 5)
        counts = decoder_of(backend).graphs.counts
        assert (counts.plain, counts.captured, counts.launched) == (5, 0, 0)
        assert 'CaptureUnsupported' in counts.failure
        assert backend.stats().slowdown == f'CUDA graphs are not used: {counts.failure}'
        backend.close()
        assert backend.stats().slowdown == ''
    finally:
        backend.close()
        machine.gpu.can_capture = True


def test_the_number_of_graphs_is_bounded(
    machine: Machine, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('penguin_ros.backends.tensorrt.cuda_graphs.MAX_GRAPHS', 2)
    backend = opened(machine, bundle)
    graphs, memory = decoder_of(backend).graphs, []
    assert (len(graphs._entries), graphs.counts.captured) == (2, 2)
    slot = backend.new_slot()
    for _ in range(2):
        for length in (10, 300, 600):
            backend.forward(slot, Chunk(tokens(1, length)))
            decode(backend, slot, 3)
            backend.truncate(slot, 0)
        memory.append(len(decoder_of(backend)._device._allocated))
    assert len(graphs._entries) == 2 and graphs._entries.evicted > 0
    assert memory[0] == memory[1]
    backend.close()
