# SPDX-License-Identifier: Apache-2.0
"""Time by the device's own clock, with events that count for themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.backend_kinds import CONFIG

torch = pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.backends.torch.device import cuda_timed
from penguin_ros.checkpoint.checkpoint import open_checkpoint


class Event:
    """Stands in for an event of CUDA; a stream's clock goes on by 3 ms with each that is recorded.
    Its time is there only once it was waited for.
    """

    clock = 0.0

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing
        self.is_waited_for = False

    def record(self) -> None:
        Event.clock += 3.0
        self.at = Event.clock

    def synchronize(self) -> None:
        self.is_waited_for = True

    def elapsed_time(self, end: Event) -> float:
        assert end.is_waited_for
        return end.at - self.at


def test_the_seconds_are_those_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'Event', Event)

    def work() -> str:
        Event.clock += 4.0
        return 'done'

    assert cuda_timed(work) == ('done', pytest.approx(7e-3))


def test_a_cpu_has_no_clock_of_its_own(tiny_checkpoint: Path) -> None:
    backend = TorchBackend(open_checkpoint(tiny_checkpoint), replace(CONFIG, device='cpu'))
    backend.open()
    assert backend.time_on_device(lambda: 5) == (5, None)
    backend.close()
