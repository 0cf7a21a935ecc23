# SPDX-License-Identifier: Apache-2.0
"""The size of a step is measured: the largest that takes no longer than a question may wait."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from support.backend_kinds import CONFIG
from support.memory_checkpoint import MemoryCheckpoint

from penguin_ros.backends.torch.warm_up import largest_within_a_step
from penguin_ros.errors import OutOfMemory

MS = 1_000_000


class Device:
    """Takes `ms_per_row` for a row, ten times that the first two times of a size; has memory for
    `most` rows.
    """

    def __init__(self, ms_per_row: float, most: int = 10**9) -> None:
        self.ms_per_row, self.most = ms_per_row, most
        self.now_ns = 0
        self.runs: list[int] = []

    def run(self, rows: int) -> None:
        if rows > self.most:
            raise OutOfMemory('memory ran out', '', '')
        self.runs.append(rows)
        slow = 10 if self.runs.count(rows) <= 2 else 1
        self.now_ns += round(slow * rows * self.ms_per_row * MS)

    def clock(self) -> int:
        return self.now_ns


@pytest.mark.parametrize(
    ('ms_per_row', 'expected'), [(0.001, 1024), (0.019, 1024), (0.03, 512), (0.07, 256), (5, 256)]
)
def test_the_largest_that_fits_is_taken(ms_per_row: float, expected: int) -> None:
    device = Device(ms_per_row)
    assert largest_within_a_step((1024, 512, 256), device.run, device.clock) == expected


def test_the_smallest_is_taken_without_a_look() -> None:
    device = Device(1.0)
    assert largest_within_a_step((512, 256), device.run, device.clock) == 256
    assert set(device.runs) == {512}


def test_a_size_without_memory_is_passed_over() -> None:
    device = Device(0.001, most=600)
    assert largest_within_a_step((1024, 512, 256), device.run, device.clock) == 512


@pytest.mark.parametrize(('step_ms', 'expected'), [(1, (512, 4096)), (30, (256, 256))])
def test_a_session_takes_what_its_device_was_measured_to_take(
    step_ms: int, expected: tuple[int, int]
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    from support.torch_graphs import recording_backend

    config = replace(CONFIG, max_length=600, prefill_chunk=0, encode_patches=0)
    ticks = itertools.count(step=step_ms * MS)
    backend = recording_backend(MemoryCheckpoint(), config, clock_ns=lambda: next(ticks))
    assert backend.open().prefill_chunk == expected[0]
    assert backend._session is not None and backend._session._rows_per_slice == expected[1]


def test_what_the_settings_say_is_not_measured() -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    from support.torch_graphs import recording_backend

    def clock_ns() -> int:
        raise AssertionError('measured')

    config = replace(CONFIG, prefill_chunk=32, encode_patches=128)
    backend = recording_backend(MemoryCheckpoint(), config, clock_ns=clock_ns)
    assert backend.open().prefill_chunk == 32 and backend.description.way == 'CUDA graphs'
    assert backend._session is not None and backend._session._rows_per_slice == 128
