# SPDX-License-Identifier: Apache-2.0
"""What a build needs, compared with what there is."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from penguin_ros.errors import NotEnoughSpace
from penguin_ros.export import resources
from penguin_ros.export.precision import MatrixPlan
from penguin_ros.export.resources import Estimate, check_resources, estimate, free_memory

PLENTY = Estimate(1, 1, 1.0)


def test_a_short_disk_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1_500_000_000))
    with pytest.raises(NotEnoughSpace, match='needs 2.00 GB of disk: 1.50 GB are free') as refused:
        check_resources(tmp_path / 'not' / 'there', Estimate(2_000_000_000, 1, 1.0))
    assert (refused.value.needed, refused.value.free) == (2_000_000_000, 1_500_000_000)
    assert not (tmp_path / 'not').exists()


def test_short_memory_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, 'free_memory', lambda: 100_000_000)
    with pytest.raises(NotEnoughSpace, match='0.30 GB of memory: 0.10 GB are free'):
        check_resources(tmp_path, Estimate(1, 300_000_000, 1.0))


def test_enough_is_enough(tmp_path: Path) -> None:
    check_resources(tmp_path / 'new', PLENTY)


def test_a_limit_of_the_process_counts() -> None:
    code = (
        'import resource\nfrom penguin_ros.export.resources import free_memory\n'
        'resource.setrlimit(resource.RLIMIT_DATA, (2 ** 30, 2 ** 30))\nprint(free_memory())'
    )
    shown = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert 2**29 < int(shown) < 2**30


def test_free_memory_is_that_of_the_machine_where_nothing_limits_it() -> None:
    if resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY:
        pytest.skip('this shell has a limit of its own')
    available = next(
        int(line.split()[1])
        for line in Path('/proc/meminfo').read_text().splitlines()
        if 'MemAvailable' in line
    )
    assert 0 < free_memory() <= available * 1024 * 1.1


def test_the_estimate_follows_formats_and_table() -> None:
    whole, half = (
        estimate([MatrixPlan('x', ('x',), 4096, 4096, kind)], 'float32', 10**6, 2)
        for kind in ('float32', 'float16')
    )
    assert whole.disk_bytes - half.disk_bytes == 4096 * 4096 * 2
    assert whole.disk_bytes > 4096 * 4096 * 4 + 10**6
    assert estimate([], 'float32', 0, 4).memory_bytes > estimate([], 'float32', 0, 1).memory_bytes
