# SPDX-License-Identifier: Apache-2.0
"""What the machine is, how its memory is measured, and the stored input. No speed is judged."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from penguin_ros.benchmark import machine as machine_module
from penguin_ros.benchmark.machine import (
    available_bytes,
    device_copy_rate,
    machine,
    process_usage,
    read_bandwidth,
    resident_bytes,
)
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip, stored_images


def test_the_machine_says_what_it_is_and_what_is_free() -> None:
    assert '3 threads' in machine(3)
    now, highest = resident_bytes()
    assert 1_000_000 < now <= highest and available_bytes() > 0


def test_memory_is_read_by_as_many_threads_as_asked() -> None:
    assert all(
        np.isfinite(read_bandwidth(threads, 1 << 20)) and read_bandwidth(threads, 1 << 20) > 0
        for threads in (1, 3)
    )


def test_without_a_gpu_the_copy_is_not_measured_and_each_way_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'cuda', None)
    monkeypatch.setitem(sys.modules, 'torch', None)
    for name in (
        'penguin_ros.backends.cuda.device',
        'penguin_ros.backends.torch.device',
        'penguin_ros.backends.torch.device',
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    rate, how = device_copy_rate()
    assert rate is None and how.startswith('not measured: ') and how.count('Error') >= 2


def test_a_machine_without_such_files_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ('MEMORY', 'STATUS'):
        monkeypatch.setattr(machine_module, name, machine_module.Path(f'{tmp_path}/absent'))
    assert available_bytes() == 0 and resident_bytes() == (0, 0)


def test_the_stored_input_is_the_same_everywhere() -> None:
    images = stored_images()
    assert [picture.shape for picture in images] == [(360, 640, 3)] * 8
    digest = hashlib.sha256(b''.join(picture.tobytes() for picture in images)).hexdigest()
    assert (
        digest
        == hashlib.sha256(
            b''.join(frame.image.tobytes() for frame in stored_clip().frames)
        ).hexdigest()
    )
    assert digest.startswith('d18aa397b5e8bf33'), digest
    assert stored_clip().seconds_from_start == tuple(
        index / 2 for index in range(8)
    ) and QUESTION.endswith('?')


def test_usage_is_that_of_the_process() -> None:
    script = (
        'import sys; block = bytearray(64_000_000); sum(range(8_000_000)); print(flush=True); '
        'sys.stdin.read()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        seconds, resident = process_usage(process.pid)
        assert 0.02 < seconds < 30 and 64_000_000 < resident < 300_000_000
        process.communicate()
