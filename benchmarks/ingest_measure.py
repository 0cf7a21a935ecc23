# SPDX-License-Identifier: Apache-2.0
"""What a receiver of benchmarks/ingest.py measures of itself. It uses nothing of penguin_ros."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

WARM_UP_SECONDS = 2.0
HEARD_WITHIN_SECONDS = 30.0


class Receipts:
    """When the sampled frames of each camera arrived, and how old they were."""

    def __init__(self, cameras: int) -> None:
        self.times: list[list[float]] = [[] for _ in range(cameras)]
        self.ages_ms: list[float] = []
        self.messages = 0

    def note(self, camera: int, age_ns: int) -> None:
        """Notes that a sampled frame is in hand, converted."""
        self.times[camera].append(time.monotonic())
        self.ages_ms.append(age_ns / 1e6)

    def clear(self) -> None:
        """Begins the measurement."""
        self.times = [[] for _ in self.times]
        self.ages_ms = []
        self.messages = 0


def measured(executor: Any, receipts: Receipts, options: dict[str, Any]) -> dict[str, Any]:
    """Spins until every camera has been heard, then for the warm-up, then for `seconds`; returns
    what that took.
    """
    spin(executor, lambda: all(receipts.times), HEARD_WITHIN_SECONDS)
    if not all(receipts.times):
        return {'error': f'no frame of every camera within {HEARD_WITHIN_SECONDS:g} s'}
    spin(executor, lambda: False, WARM_UP_SECONDS)
    print('measuring', flush=True)
    receipts.clear()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.monotonic()
    spin(executor, lambda: False, options['seconds'])
    after = resource.getrusage(resource.RUSAGE_SELF)
    elapsed = time.monotonic() - start
    processor_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        'seconds': elapsed,
        'messages_hz': receipts.messages / elapsed,
        'cpu_percent': 100 * processor_seconds / elapsed,
        'faults_per_second': (after.ru_minflt - before.ru_minflt) / elapsed,
        'rss_mb': after.ru_maxrss / 1024,
        'samples': sum(map(len, receipts.times)),
        'ages_ms': receipts.ages_ms,
        'lost_samples': lost_samples(receipts, start, elapsed, options['sample_hz']),
    }


def spin(executor: Any, is_done: Callable[[], bool], seconds: float) -> None:
    """Runs callbacks until done, or for so many seconds."""
    end = time.monotonic() + seconds
    while not is_done() and (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)


def lost_samples(receipts: Receipts, start: float, elapsed: float, sample_hz: float) -> int:
    """The number of samples that should have come and did not: whole periods without one, from the
    start to the end of the measurement.
    """
    lost = 0
    for times in receipts.times:
        edges = [start, *times, start + elapsed]
        gaps = [later - earlier for earlier, later in zip(edges, edges[1:], strict=False)]
        lost += sum(max(0, round(gap * sample_hz - 0.01) - 1) for gap in gaps)
    return lost


def report(result: dict[str, Any]) -> None:
    """Prints one line for the process that started this one."""
    print(json.dumps(result), flush=True)
