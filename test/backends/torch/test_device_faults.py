# SPDX-License-Identifier: Apache-2.0
"""What a card and its driver do wrong, planted in torch's functions: each has its named error, or a
way around that is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end, tokens
from support.memory_checkpoint import MemoryCheckpoint

torch = pytest.importorskip('torch', reason='torch is not installed')

from support.replaying_recorder import ReplayingRecorder
from support.torch_graphs import graphs_of, recording_backend

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.backends.torch.device import choose_device, inference
from penguin_ros.errors import BackendError, BackendUnavailable, DeviceLost, OutOfMemory

TOO_OLD = (
    'The NVIDIA driver on your system is too old (found version 11040). Please update your GPU '
    'driver'
)


def raising(error: Exception) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        raise error

    return call


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A torch that was built for CUDA and finds none, with these words."""

    def plant(words: str) -> None:
        monkeypatch.setattr(torch.version, 'cuda', '13.0')
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        monkeypatch.setattr(torch.cuda, 'init', raising(RuntimeError(words)))

    return plant


@pytest.mark.parametrize(
    ('words', 'what', 'fix'),
    [
        (TOO_OLD, 'driver is too old', 'newer driver, or a torch for an older CUDA than 13.0'),
        ('Found no NVIDIA driver on your system.', 'device cuda is not available', 'nvidia-smi'),
        ('No CUDA GPUs are available', 'device cuda is not available', 'nvidia-smi'),
    ],
)
def test_a_card_that_cannot_be_used_is_refused_by_name_with_what_torch_says(
    no_card: Callable[[str], None], words: str, what: str, fix: str
) -> None:
    no_card(words)
    with pytest.raises(BackendUnavailable) as caught:
        choose_device('cuda')
    assert what in caught.value.what and words[:40] in caught.value.why and fix in caught.value.fix


def test_a_torch_without_cuda_names_the_command_that_brings_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.version, 'cuda', None)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(BackendUnavailable, match='built without CUDA.*type: '):
        choose_device('cuda')


@pytest.mark.parametrize(('words', 'told'), [(TOO_OLD, TOO_OLD), ('Found no NVIDIA driver', '')])
def test_auto_takes_the_cpu_and_tells_why_when_there_is_a_card(
    no_card: Callable[[str], None], words: str, told: str
) -> None:
    no_card(words)
    backend = TorchBackend(MemoryCheckpoint(), replace(CONFIG, device='auto'))  # type: ignore[arg-type]
    assert backend.open().device == 'cpu'
    assert backend.stats().slowdown == (f'torch computes on the CPU: {told}' if told else '')


def test_a_card_that_another_process_holds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In exclusive mode the first call that needs the card fails."""
    busy = 'CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', raising(RuntimeError(busy)))
    backend = TorchBackend(MemoryCheckpoint(), replace(CONFIG, device='cuda'))  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match='taken by another process.*nvidia-smi') as caught:
        backend.open()
    assert 'more' not in str(caught.value)


@pytest.mark.parametrize(
    'words',
    [
        'CUDA error: an illegal memory access was encountered',
        'CUDA error: device-side assert triggered',
        'CUDA error: unspecified launch failure',
        'CUDA error: uncorrectable ECC error encountered',
        'CUDA error: unknown error',
        'CUDA error: the launch timed out and was terminated',
    ],
)
def test_an_error_that_all_later_calls_repeat_is_a_lost_device(words: str) -> None:
    with pytest.raises(DeviceLost, match='respawn:=true'), inference('appending a chunk'):
        raise RuntimeError(words + '\nCompile with TORCH_USE_CUDA_DSA')


def test_other_errors_of_the_card_lose_nothing() -> None:
    with pytest.raises(BackendError) as caught, inference('appending a chunk'):
        raise RuntimeError('CUDA error: invalid argument')
    assert not isinstance(caught.value, DeviceLost)


def opened(recorder: Any = None) -> tuple[TorchBackend, int]:
    backend = recording_backend(MemoryCheckpoint(), CONFIG, recorder)
    backend.open()
    return backend, backend.new_slot()


def test_memory_that_runs_out_while_recording_is_a_way_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, slot = opened()
    expected = backend.forward(slot, Chunk(tokens(1, 5)), [-1])
    backend.truncate(slot, 0)
    short = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')
    monkeypatch.setattr(graphs_of(backend)._recorder, 'may_record', raising(short))
    got = backend.forward(slot, Chunk(tokens(1, 5)), [-1])
    assert np.allclose(got, expected, atol=1e-5)
    assert 'CUDA out of memory' in backend.stats().slowdown


SHORT = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')


def features_of(backend: TorchBackend) -> np.ndarray:
    return backend.read_features(run_to_end(backend.encode([frame(1)]))[0][0])


CALLS: dict[str, Callable[[TorchBackend, int], np.ndarray]] = {
    'forward': lambda backend, slot: backend.forward(slot, Chunk(tokens(2, 1)), [-1]),
    'a prefill chunk': lambda backend, slot: backend.forward(slot, Chunk(tokens(2, 30)), [-1]),
    'a greedy step': lambda backend, slot: np.array(
        backend.forward_greedy(slot, Chunk(tokens(2, 1))).logit
    ),
    'an encode': lambda backend, slot: features_of(backend),
}


@pytest.mark.parametrize('call', CALLS)
@pytest.mark.parametrize('times_before', [0, 1, 2])
def test_memory_that_runs_out_in_mid_run_drops_the_graphs_and_the_step_runs_plainly(
    call: str,
    times_before: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the first run of a pass, while it is recorded, and when it is replayed."""
    backend, slot = opened()
    plain = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    plain.open()
    expected_slot = plain.new_slot()
    for each, number in ((backend, slot), (plain, expected_slot)):
        each.forward(number, Chunk(tokens(1, 5)))
    for _ in range(times_before):
        CALLS[call](backend, slot)
        backend.truncate(slot, 5)
    graphs = graphs_of(backend)
    recorder: Any = graphs._recorder
    monkeypatch.setattr(recorder, 'rehearse', raising(SHORT))
    monkeypatch.setattr(recorder, 'record', raising(SHORT))
    for entry in graphs._entries:
        if entry.replay is not None:
            entry.replay = raising(SHORT)
    with caplog.at_level(logging.WARNING):
        got = CALLS[call](backend, slot)
    assert np.allclose(got, CALLS[call](plain, expected_slot), atol=1e-4)
    assert len(graphs) == 0 and recorder.released >= 1
    assert not backend._session._passes._text_rows  # type: ignore[union-attr]
    assert len(caplog.records) == 1 and 'out of memory' in caplog.text
    assert 'out of memory' in backend.stats().slowdown
    for seed in range(3):  # nothing is recorded any more, which the planted faults would show
        rows = [
            each.forward(number, Chunk(tokens(seed, 2)), [-1])
            for each, number in ((backend, slot), (plain, expected_slot))
        ]
        assert np.allclose(*rows, atol=1e-4)
    assert len(caplog.records) == 1


def test_memory_that_runs_out_on_the_plain_way_too_ends_the_call_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from penguin_ros.backends.torch import decoder

    backend, slot = opened()
    backend.forward(slot, Chunk(tokens(1, 5)))
    with monkeypatch.context() as planted:
        planted.setattr(graphs_of(backend)._recorder, 'rehearse', raising(SHORT))
        planted.setattr(decoder, 'append', raising(SHORT))
        with pytest.raises(OutOfMemory, match='memory ran out while appending'):
            backend.forward(slot, Chunk(tokens(2, 1)))
    assert backend.slot_length(slot) == 5
    assert np.isfinite(backend.forward(slot, Chunk(tokens(2, 1)), [-1])).all()


def test_a_size_that_does_not_fit_when_the_model_is_loaded_costs_no_graphs() -> None:
    """Chunks of 1,024 positions do not fit; the next size is taken, and recorded."""
    recorder = ReplayingRecorder()
    rehearse = recorder.rehearse

    def limited(work: Callable[[], None]) -> None:
        rows: Any = getattr(work, '__self__', None)
        if len(getattr(getattr(rows, 'rows', None), 'hidden', ())) > 512:
            raise SHORT
        rehearse(work)

    recorder.rehearse = limited  # type: ignore[method-assign]
    config = replace(CONFIG, max_length=1040, prefill_chunk=0, encode_patches=64)
    backend = recording_backend(MemoryCheckpoint(), config, recorder, clock_ns=lambda: 0)
    assert backend.open().prefill_chunk == 512
    assert backend.description.way == 'CUDA graphs' and not backend.stats().slowdown


def test_a_card_that_breaks_while_recording_is_lost_and_not_gone_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, slot = opened()
    backend.forward(slot, Chunk(tokens(1, 3)))
    recorder = graphs_of(backend)._recorder
    broken = RuntimeError('CUDA error: an illegal memory access was encountered')
    for call in ('record', 'release', 'rehearse'):  # a broken card fails at each of them
        monkeypatch.setattr(recorder, call, raising(broken))
    backend.truncate(slot, 0)
    with pytest.raises(DeviceLost):
        backend.forward(slot, Chunk(tokens(1, 3)))
