# SPDX-License-Identifier: Apache-2.0
"""What a card and its driver do wrong, planted in torch's functions: each has its named error, or a
way around that is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, tokens
from support.memory_checkpoint import MemoryCheckpoint

torch = pytest.importorskip('torch', reason='torch is not installed')

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


def test_memory_that_runs_out_in_mid_run_ends_the_call_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, slot = opened()
    backend.forward(slot, Chunk(tokens(1, 5)))
    short = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')
    with monkeypatch.context() as planted:
        planted.setattr(graphs_of(backend)._recorder, 'rehearse', raising(short))
        with pytest.raises(OutOfMemory, match='memory ran out while appending'):
            backend.forward(slot, Chunk(tokens(2, 1)))
    assert backend.slot_length(slot) == 5
    assert np.isfinite(backend.forward(slot, Chunk(tokens(2, 1)), [-1])).all()


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
