# SPDX-License-Identifier: Apache-2.0
"""Which passes are recorded and replayed, and which leave: the bookkeeping, without a device."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from penguin_ros.backends.torch.graphs import PassCache


class Counting:
    """A pass that counts how often it was computed, and with which input."""

    def __init__(self) -> None:
        self.input = 0
        self.seen: list[int] = []

    def work(self) -> None:
        self.seen.append(self.input)


class Recorder:
    """Replays by calling the work again. `failure` is raised instead of recording."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.held_bytes = failure, 3_000_000
        self.events: list[str] = []

    def rehearse(self, work: Callable[[], None]) -> None:
        self.events.append('rehearse')
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.events.append('record')
        if self.failure is not None:
            raise self.failure
        return lambda: (self.events.append('replay'), work())[0]

    def release(self) -> None:
        self.events.append('release')


def run(graphs: PassCache, key: object, value: int = 0) -> Counting:
    return graphs.run(key, Counting, lambda made: setattr(made, 'input', value))  # type: ignore[arg-type]


def test_a_pass_runs_plainly_then_is_recorded_and_from_then_on_replayed() -> None:
    recorder = Recorder()
    graphs = PassCache(recorder)
    for value in range(4):
        made = run(graphs, 'a', value)
    assert made.seen == [0, 1, 2, 3], 'each run sees its own input, and computes once'
    assert recorder.events == ['rehearse', 'record', 'replay', 'replay', 'replay']
    counts = graphs.counts
    assert (counts.plain, counts.recorded, counts.replayed) == (1, 1, 3)


def test_a_pass_that_is_used_once_is_never_recorded() -> None:
    recorder = Recorder()
    graphs = PassCache(recorder)
    for key in range(20):
        run(graphs, key)
    assert 'record' not in recorder.events


def test_the_least_recently_used_pass_leaves() -> None:
    recorder = Recorder()
    graphs = PassCache(recorder, limit=2)
    first = run(graphs, 'a')
    run(graphs, 'b')
    assert run(graphs, 'a') is first
    run(graphs, 'c')  # b leaves
    assert run(graphs, 'a') is first and len(graphs) == 2
    recorder.events.clear()
    run(graphs, 'b')
    assert recorder.events == ['rehearse'] and graphs.stats().counts['CUDA graphs evicted'] == 2


@pytest.mark.parametrize(
    'failure', [RuntimeError('operation not permitted\nmore'), MemoryError('CUDA out of memory')]
)
def test_a_recording_that_fails_is_told_once_and_the_pass_still_runs(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    graphs = PassCache(recorder)
    for value in range(3):
        run(graphs, 'good', value)
    recorder.failure = failure
    with caplog.at_level(logging.WARNING):
        for value in range(4):
            made = run(graphs, 'bad', value)
    assert made.seen == [0, 1, 2, 3]
    words = str(failure).split('\n')[0]
    assert len(caplog.records) == 1 and words in caplog.text
    assert graphs.stats().slowdown == f'CUDA graphs are not used: {words}'
    assert not graphs.can_record
    recorder.events.clear()
    run(graphs, 'good')
    assert recorder.events == ['rehearse'], 'what was recorded is dropped: memory may be short'


def test_an_error_of_the_work_itself_leaves_as_it_is() -> None:
    class Failing(Counting):
        def work(self) -> None:
            raise ValueError('no')

    graphs = PassCache(Recorder())
    with pytest.raises(ValueError, match='no'):
        graphs.run('a', Failing, lambda made: None)
    assert graphs.can_record


def test_after_close_nothing_old_is_replayed() -> None:
    recorder = Recorder()
    graphs = PassCache(recorder)
    old = run(graphs, 'a')
    run(graphs, 'a')
    graphs.close()
    assert recorder.events[-1] == 'release' and len(graphs) == 0
    assert run(graphs, 'a') is not old


def test_the_counts_name_what_is_held() -> None:
    graphs = PassCache(Recorder())
    for _ in range(3):
        run(graphs, 'a')
    assert graphs.stats().counts == {
        'CUDA graphs recorded': 1,
        'CUDA graphs evicted': 0,
        'CUDA graphs held': 1,
        'memory of CUDA graphs, MB': 3,
        'passes with CUDA graph': 2,
        'passes without CUDA graph': 1,
    }
    assert graphs.stats().slowdown == ''
