# SPDX-License-Identifier: Apache-2.0
"""cuDNN's attention is off while a session on CUDA is open, on every torch, and only then."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.backend_kinds import CONFIG
from support.memory_checkpoint import MemoryCheckpoint

from penguin_ros.backends.torch.backend import TorchBackend

torch = pytest.importorskip('torch', reason='torch is not installed')


class Flag:
    """Takes the place of torch's switch; `calls` are the values that were set."""

    def __init__(self, is_on: bool = True) -> None:
        self.is_on, self.calls = is_on, []

    def set(self, is_on: bool) -> None:
        self.is_on = is_on
        self.calls.append(is_on)


@pytest.fixture
def flag(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flag]:
    """The switch of a torch that has one, on."""
    flag = Flag()
    monkeypatch.setattr(torch.backends.cuda, 'enable_cudnn_sdp', flag.set, raising=False)
    monkeypatch.setattr(torch.backends.cuda, 'cudnn_sdp_enabled', lambda: flag.is_on, raising=False)
    yield flag


def test_it_is_off_until_the_last_session_has_closed(flag: Flag) -> None:
    from penguin_ros.backends.torch.attention import CudnnAttention

    attention = CudnnAttention()
    attention.keep_off()
    attention.keep_off()
    assert not flag.is_on
    attention.give_back()
    assert not flag.is_on
    attention.give_back()
    assert flag.is_on


def test_who_had_switched_it_off_finds_it_off(flag: Flag) -> None:
    from penguin_ros.backends.torch.attention import CudnnAttention

    flag.is_on = False
    attention = CudnnAttention()
    attention.keep_off()
    attention.give_back()
    assert not flag.is_on


def test_threads_that_open_and_close_in_turns_leave_it_as_it_was(flag: Flag) -> None:
    from penguin_ros.backends.torch.attention import CudnnAttention

    attention, seen = CudnnAttention(), []

    def use() -> None:
        for _ in range(200):
            attention.keep_off()
            seen.append(flag.is_on)
            attention.give_back()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [False] * 800 and flag.is_on


@pytest.mark.parametrize('missing', ['enable_cudnn_sdp', 'cudnn_sdp_enabled'])
def test_a_torch_without_the_switch_is_left_alone(
    flag: Flag, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    from penguin_ros.backends.torch.attention import CudnnAttention

    monkeypatch.delattr(torch.backends.cuda, missing)
    attention = CudnnAttention()
    attention.keep_off()
    attention.give_back()
    assert flag.calls == ([] if missing == 'enable_cudnn_sdp' else [False, True])


def test_a_session_on_a_cpu_touches_nothing(flag: Flag) -> None:
    backend = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    backend.open()
    backend.close()
    assert flag.calls == []
