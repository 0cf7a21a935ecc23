# SPDX-License-Identifier: Apache-2.0
"""What a served engine has done, in the text form that Prometheus reads."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from penguin_ros.pipeline_status import PipelineStatus
from penguin_ros.request import Answer
from penguin_ros.serving.picture_store import PictureCounts

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass
class Histogram:
    """How often a duration was up to each of BOUNDS_S, or longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, duration_s: float) -> None:
        """Counts a duration."""
        self.counts[bisect.bisect_left(BOUNDS_S, duration_s)] += 1
        self.total_s += duration_s

    def lines(self, name: str) -> Iterator[str]:
        """Yields the lines of one metric."""
        count = 0
        for bound, more in zip((*BOUNDS_S, '+Inf'), self.counts, strict=True):
            count += more
            yield f'{name}_bucket{{le="{bound}"}} {count}'
        yield f'{name}_sum {self.total_s:.6f}'
        yield f'{name}_count {count}'


class Metrics:
    """Counts of one server; on the thread of its loop."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()  # by status, and 'disconnected'
        self.in_flight = 0
        self._tokens: Counter[str] = Counter()
        self._times = {
            'queue_seconds': Histogram(),
            'first_token_seconds': Histogram(),
            'request_seconds': Histogram(),
        }

    def note_answer(self, answer: Answer, duration_s: float) -> None:
        """Counts an answer, or as much as there was before its error."""
        evidence, stats = answer.evidence, answer.evidence.stats
        self._times['queue_seconds'].add(evidence.wait_ns / 1e9)
        if evidence.first_token_ns:
            self._times['first_token_seconds'].add(evidence.first_token_ns / 1e9)
        self._times['request_seconds'].add(duration_s)
        for name in ('prompt_tokens', 'generated_tokens', 'reused_tokens', 'reused_frames'):
            self._tokens[name] += getattr(stats, name)
        self._tokens['frames'] += len(evidence.frames)

    def text(self, status: PipelineStatus, pictures: PictureCounts) -> str:
        """Returns everything there is to read."""
        return ''.join(f'{line}\n' for line in self._lines(status, pictures))

    def _lines(self, status: PipelineStatus, pictures: PictureCounts) -> Iterator[str]:
        counts = status.counts
        yield from _gauges(
            {
                'in_flight': self.in_flight,
                'questions_waiting': counts.questions_waiting,
                'questions_running': counts.questions_running,
                'captions_waiting': counts.captions_waiting,
                'captions_running': counts.captions_running,
                'pictures_kept': pictures.pictures,
                'picture_bytes': pictures.bytes,
                'kv_slots_kept': status.caches.prefix_cache.kept_slots,
                'kv_positions_kept': status.caches.prefix_cache.kept_positions,
            }
        )
        yield from _counters(
            {
                **{f'{name}_total': count for name, count in sorted(self._tokens.items())},
                'picture_hits_total': pictures.hits,
                'picture_misses_total': pictures.misses,
                'pictures_evicted_total': pictures.evicted,
                'questions_refused_total': counts.questions_refused,
                'captions_replaced_total': counts.captions_replaced,
                'captions_preempted_total': counts.captions_preempted,
            }
        )
        yield '# TYPE penguin_requests_total counter'
        for outcome, count in sorted(self.requests.items()):
            yield f'penguin_requests_total{{outcome="{outcome}"}} {count}'
        for name, histogram in self._times.items():
            yield f'# TYPE penguin_{name} histogram'
            yield from histogram.lines(f'penguin_{name}')


def _gauges(values: Mapping[str, float]) -> Iterator[str]:
    for name, value in values.items():
        yield f'# TYPE penguin_{name} gauge'
        yield f'penguin_{name} {value}'


def _counters(values: Mapping[str, float]) -> Iterator[str]:
    for name, value in values.items():
        yield f'# TYPE penguin_{name} counter'
        yield f'penguin_{name} {value}'
