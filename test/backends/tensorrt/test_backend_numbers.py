# SPDX-License-Identifier: Apache-2.0
"""The numbers of the TensorRT backend on a strict fake GPU are those of torch: across lengths,
profiles and chunks.

The fake runs the graphs in ONNX Runtime; `test_contract*.py` holds the backend to what every
backend promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.backend_kinds import frame, piece, prompt, run_to_end, tokens
from support.fake_gpu.bundles import MAX_LENGTH
from support.fake_gpu.installed import Machine
from support.tensorrt_backend_checks import assert_close, decoder_of

from penguin_ros.backends.base.backend import Backend, Chunk, FeatureSpan
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.errors import BackendError, CacheOverflow

if TYPE_CHECKING:
    from support.fake_gpu.installed import Machine


def greedy(
    backend: Backend, count: int, prompt_seed: int = 3, length: int = 31
) -> tuple[list[int], np.ndarray]:
    """Runs a prompt of `length` positions with images; returns `count` greedy tokens and their
    logits.
    """
    ids, spans = prompt(backend)
    slot, found, rows = backend.new_slot(), [], []
    extra = tokens(prompt_seed, length - 31)
    logits = backend.forward(slot, Chunk(np.concatenate((ids, extra)), spans), [-1])[0]
    for _ in range(count):
        rows.append(logits)
        found.append(int(logits.argmax()))
        logits = backend.forward(slot, Chunk(np.array(found[-1:])), [-1])[0]
    backend.free_slot(slot)
    return found, np.stack(rows)


@pytest.mark.parametrize(('length', 'count'), [(31, 20), (240, 40), (500, 30)])
def test_tokens_and_logits_are_those_of_torch_across_buckets(
    backend: TensorrtBackend, torch_backend: Backend, length: int, count: int
) -> None:
    ours, logits = greedy(backend, count, length=length)
    theirs, expected = greedy(torch_backend, count, length=length)
    assert_close(logits, expected)
    assert ours == theirs


def test_the_description_names_the_card_and_the_library(
    backend: TensorrtBackend, machine: Machine
) -> None:
    description = backend.description
    assert description.device == machine.gpu.name
    assert description.way == f'TensorRT {machine.version}, decoding as CUDA graphs'


def test_features_are_those_of_torch(backend: TensorrtBackend, torch_backend: Backend) -> None:
    for image in (frame(1), frame(2, 9, 6, 3), frame(3, 5, 3, 1), frame(4, 16, 16)):
        ours, theirs = (run_to_end(each.encode([image]))[0][0] for each in (backend, torch_backend))
        for stage in ('encoded', 'projected'):
            assert_close(
                backend.read_features(ours, stage), torch_backend.read_features(theirs, stage)
            )


def test_a_whole_slot_is_filled_and_not_one_position_more(
    backend: TensorrtBackend, torch_backend: Backend
) -> None:
    ids, slot, other = tokens(5, MAX_LENGTH), backend.new_slot(), torch_backend.new_slot()
    for each, number in ((backend, slot), (torch_backend, other)):
        each.forward(number, Chunk(ids[:-2]))
    assert_close(
        backend.forward(slot, Chunk(ids[-2:]), [0, 1]),
        torch_backend.forward(other, Chunk(ids[-2:]), [0, 1]),
    )
    with pytest.raises(CacheOverflow, match=f'holds {MAX_LENGTH} of at most {MAX_LENGTH}'):
        backend.forward(slot, Chunk(tokens(1, 1)))


def test_the_decoder_itself_refuses_a_write_past_the_end(backend: TensorrtBackend) -> None:
    with pytest.raises(CacheOverflow, match='past the end'):
        decoder_of(backend).append(Append(0, MAX_LENGTH - 1, Chunk(tokens(1, 2)), []), [])


@pytest.mark.parametrize('count', [1, 2, 8, 9, 47, 48, 49, 97, 300])
def test_a_chunk_of_any_length_runs_in_parts_that_fit_the_profiles(
    backend: TensorrtBackend, torch_backend: Backend, count: int
) -> None:
    results = []
    for each in (backend, torch_backend):
        slot = each.new_slot()
        each.forward(slot, Chunk(tokens(2, 7)))
        results.append(each.forward(slot, Chunk(tokens(count, count)), range(count)))
        each.free_slot(slot)
    assert_close(*results)


def test_features_are_split_between_parts_of_a_chunk(backend: TensorrtBackend) -> None:
    """An image of 64 tokens, more than one run takes, stands at an odd position."""
    features = run_to_end(backend.encode([frame(1, 16, 16)]))[0][0]
    ids, spans = tokens(1, 110), (FeatureSpan(20, features, 0, 64), FeatureSpan(90, features, 3, 9))
    slot = backend.new_slot()
    whole = backend.forward(slot, Chunk(ids, spans), [-1])[0]
    for size in (1, 17, 48):
        backend.truncate(slot, 0)
        for start in range(0, 110, size):
            logits = backend.forward(slot, piece(ids, spans, start, min(start + size, 110)), [-1])[
                0
            ]
        assert_close(logits, whole)


def test_a_frame_that_the_engine_is_too_small_for_is_refused_with_the_way_out(
    backend: TensorrtBackend,
) -> None:
    with pytest.raises(BackendError, match=r'272 patches: the engine takes 256.*--max-patches'):
        backend.encode([frame(1), frame(2, 16, 17, 1)])
    with pytest.raises(BackendError, match='merge size 5'):
        backend.encode([frame(2, 5, 5, 5)])


def test_logits_are_copied_to_the_host_only_when_they_are_asked_for(
    backend: TensorrtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, slot, copied = decoder_of(backend), backend.new_slot(), []
    copy = decoder._device.copy
    monkeypatch.setattr(
        decoder._device, 'copy', lambda *given: (copied.append(given[2]), copy(*given))
    )
    row = 4 * decoder.sizes.vocabulary
    backend.forward_greedy(slot, Chunk(tokens(1, 20)))
    backend.forward_greedy(slot, Chunk(tokens(2, 1)))
    assert row not in copied
    backend.forward(slot, Chunk(tokens(3, 20)), range(3))
    assert copied.count(row) == 3


def test_what_the_gpu_reads_again_and_again_lies_in_its_own_memory(
    backend: TensorrtBackend, machine: Machine
) -> None:
    inputs, blocks = decoder_of(backend)._inputs, machine.gpu.blocks
    prefill, step = inputs.addresses(8), inputs.addresses(1)
    assert not blocks[prefill['logits']].is_host and not blocks[prefill['attention_mask']].is_host
    assert blocks[step['attention_mask']].is_host and step['logits'] == prefill['logits']
