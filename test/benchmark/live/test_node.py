# SPDX-License-Identifier: Apache-2.0
"""The node over real topics as `penguin bench live --node` sees it: what is counted, and one short
run of real processes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penguin_ros.benchmark.live.node import NodeObservations, figures, spread
from penguin_ros.cli import bench_live, exit_codes
from penguin_ros.cli.main import parser


def caption(error_code: int = 0) -> Any:
    return SimpleNamespace(error_code=error_code)


def answer(first_token_s: float, error_code: int = 0) -> Any:
    nanoseconds = round(first_token_s * 1e9)
    latency = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return SimpleNamespace(
        error_code=error_code, evidence=SimpleNamespace(first_token_latency=latency)
    )


def status(replaced: int, dropped: int) -> Any:
    return SimpleNamespace(
        captions_replaced=replaced,
        captions_dropped=dropped,
        captions_unchanged=0,
        cameras=[SimpleNamespace(rate_hz=2.0)],
    )


def test_counts_are_of_the_measured_time_and_errors_apart() -> None:
    seen = NodeObservations(
        [caption(), caption(7), caption()],
        [status(5, 1), status(6, 1), status(9, 2)],
        [0.2, 0.4],
        [answer(0.1), answer(1.25), answer(9.0, 3)],
        1,
        [(float(index), 0.5 * index, 1000 + index) for index in range(9)],
    )
    found = figures(seen, 8.0)
    assert (found['captions'], found['captions_hz'], found['caption_errors']) == (2, 0.25, 1)
    assert (found['captions_replaced'], found['captions_dropped']) == (4, 1)
    assert (found['questions'], found['answered']) == (4, 2)
    assert found['first_token_in_node']['max'] == 1.25 and found['first_token']['count'] == 2
    assert found['cpu_percent'] == 50.0
    assert (found['resident_start'], found['resident_end'], found['resident_highest']) == (
        1000.5,
        1007.5,
        1008,
    )


def test_a_spread_names_the_middle_the_tail_and_the_worst() -> None:
    found = spread([index / 100 for index in range(101)])
    assert found is not None
    assert (found['p50'], found['max'], found['count']) == (0.5, 1.0, 101) and found[
        'p95'
    ] == pytest.approx(0.95)
    assert spread([]) is None


@pytest.mark.slow
def test_a_short_run_of_real_processes_is_counted(
    tiny_checkpoint: Path, tmp_path: Path, ros_domain: int
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    path = tmp_path / 'record.json'
    words = [
        'bench',
        'live',
        str(tiny_checkpoint),
        '--no-default',
        '--node',
        '--node-seconds',
        '12',
        '--threads',
        '1',
        '--set',
        'question.max_tokens=8',
        '--set',
        'caption.max_tokens=8',
        '--json',
        str(path),
    ]
    assert bench_live.run(parser('bench').parse_args(words)) == exit_codes.DONE
    record = json.loads(path.read_text())
    node = record['node']
    assert record['models'] == [] or 'cases' not in record['models'][0]
    assert (
        node['error'] is None
        and node['exit_code'] == 0
        and os.environ['ROS_DOMAIN_ID'] == str(ros_domain)
    )
    assert node['captions'] > 0 and node['caption_errors'] == 0
    assert node['answered'] == node['questions'] > 0
    assert node['first_token_in_node']['max'] >= node['first_token_in_node']['p50'] > 0
    assert node['cpu_percent'] > 0 and node['resident_start'] > 1e7 and node['camera_hz'] > 0
