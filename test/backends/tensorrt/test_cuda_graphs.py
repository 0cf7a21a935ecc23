# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs of the TensorRT backend: when they are captured, launched, given up and evicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.backend_kinds import tokens
from support.fake_gpu.bundles import opened
from support.fake_gpu.installed import Machine
from support.tensorrt_backend_checks import assert_close, decode, decoder_of

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.tensorrt.backend import TensorrtBackend


def test_each_bucket_is_captured_once_and_launched_from_then_on(backend: TensorrtBackend) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 250)))
    counts = decoder_of(backend).graphs.counts
    decode(backend, slot, 6)  # positions 250 .. 255: the first bucket
    assert (counts.plain, counts.captured, counts.launched) == (1, 1, 5)
    decode(backend, slot, 10)  # the second
    assert (counts.plain, counts.captured, counts.launched) == (2, 2, 14)
    backend.truncate(slot, 100)
    decode(backend, slot, 5)  # the first again, or with a cache whose pitch has grown the second
    assert (counts.plain, counts.captured, counts.launched) == (2, 2, 19)
    assert counts.failure == ''
    stats = backend.stats()
    assert stats.slowdown == '' and stats.counts == {
        'CUDA graphs captured': 2,
        'CUDA graphs evicted': 0,
        'steps with CUDA graph': 19,
        'steps without CUDA graph': 2,
    }


def test_every_slot_has_graphs_of_its_own(backend: TensorrtBackend) -> None:
    slots = [backend.new_slot() for _ in range(3)]
    expected = []
    for slot in slots:
        backend.forward(slot, Chunk(tokens(slot, 40)))
    for step in range(4):
        for slot in slots:
            logits = backend.forward(slot, Chunk(tokens(slot + step, 1)), [0])[0]
            if step == 3:
                expected.append((slot, logits))
    assert decoder_of(backend).graphs.counts.captured == 3
    for slot, logits in expected:
        backend.truncate(slot, 0)
        backend.forward(slot, Chunk(tokens(slot, 40)))
        ids = np.concatenate([tokens(slot + step, 1) for step in range(4)])
        assert_close(backend.forward(slot, Chunk(ids), [3])[0], logits)


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


def test_the_number_of_graphs_is_bounded(backend: TensorrtBackend) -> None:
    graphs, machine_graphs = decoder_of(backend).graphs, len(decoder_of(backend)._device._allocated)
    graphs._limit = 2
    slots = [backend.new_slot() for _ in range(3)]
    for _ in range(4):
        for slot in slots:
            decode(backend, slot, 3)
    assert len(graphs._entries) == 2 and graphs.counts.evicted > 0
    assert len(decoder_of(backend)._device._allocated) == machine_graphs + 2
