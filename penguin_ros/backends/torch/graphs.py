# SPDX-License-Identifier: Apache-2.0
"""Which passes are replayed, which recorded, and when one leaves: the bookkeeping of CUDA graphs,
without a call of torch.cuda.

A pass reads and writes memory that stays where it is. It runs as it is the first time, is recorded
the second, and replayed from then on. Recording and replaying are a `Recorder`'s matter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.backends.base.recently_used import RecentlyUsed

MAX_GRAPHS = 64
"""Passes that are kept; the least recently used leaves for another."""

Work = Callable[[], None]


class Pass(Protocol):
    """A piece of work and the memory of its inputs and outputs."""

    def work(self) -> None:
        """Computes the outputs from the inputs, each in its place."""


AnyPass = TypeVar('AnyPass', bound=Pass)


class Recorder(Protocol):
    """Records work on a device, and replays it."""

    @property
    def held_bytes(self) -> int:
        """Memory of the device that recordings hold, as far as that can be told."""

    def rehearse(self, work: Work) -> None:
        """Runs work so that it can be recorded afterwards."""

    def record(self, work: Work) -> Callable[[], None]:
        """Records work without running it; returns what replays it. RuntimeError when it cannot be
        recorded.
        """

    def release(self) -> None:
        """Gives the memory of recordings that nobody holds any more back to the device."""


@dataclass
class GraphCounts:
    """Passes that were `recorded`, runs that `replayed` one and `plain` ones. `failure` is why
    nothing is recorded, '' when all is well.
    """

    recorded: int = 0
    replayed: int = 0
    plain: int = 0
    failure: str = ''


@dataclass
class _Entry:
    of: Pass
    replay: Work | None = None
    has_run: bool = False


class PassCache:
    """At most `limit` passes and their recordings. The same key must always mean the same work on
    the same memory.
    """

    def __init__(self, recorder: Recorder, limit: int = MAX_GRAPHS) -> None:
        self.counts = GraphCounts()
        self._recorder = recorder
        self._entries: RecentlyUsed[Hashable, _Entry] = RecentlyUsed(limit)

    @property
    def can_record(self) -> bool:
        """False once a recording has failed: whoever has another way takes it from then on."""
        return not self.counts.failure

    def __len__(self) -> int:
        return len(self._entries)

    def run(
        self, key: Hashable, make: Callable[[], AnyPass], load: Callable[[AnyPass], None]
    ) -> AnyPass:
        """Runs the pass of `key`, which `make` makes when there is none, after `load` has put its
        inputs into their places. Returns it: its outputs stand until the next run.
        """
        entry = self._entries.get(key, lambda: _Entry(make()))
        load(cast(AnyPass, entry.of))
        if entry.replay is None and entry.has_run and self.can_record:
            self._record(entry)
        if entry.replay is not None:
            entry.replay()
            self.counts.replayed += 1
        else:
            self._recorder.rehearse(entry.of.work)
            self.counts.plain += 1
            entry.has_run = True
        return cast(AnyPass, entry.of)

    def give_up(self, why: str) -> None:
        """Drops all passes and what was recorded of them; nothing is recorded from then on."""
        self._tell(why)
        self._entries.clear()
        self._recorder.release()

    def stats(self) -> BackendStats:
        """Returns the counts for users; on any thread."""
        counts = self.counts
        return BackendStats(
            {
                'CUDA graphs recorded': counts.recorded,
                'CUDA graphs evicted': self._entries.evicted,
                'CUDA graphs held': len(self._entries),
                'memory of CUDA graphs, MB': round(self._recorder.held_bytes / 1e6),
                'passes with CUDA graph': counts.replayed,
                'passes without CUDA graph': counts.plain,
            },
            f'CUDA graphs are not used: {counts.failure}' if counts.failure else '',
        )

    def close(self) -> None:
        """Drops all passes, which are stale when the memory that they name is freed."""
        self._entries.clear()
        self._recorder.release()

    def _record(self, entry: _Entry) -> None:
        try:
            entry.replay = self._recorder.record(entry.of.work)
            self.counts.recorded += 1
        except (RuntimeError, MemoryError) as error:
            # Slower, but right. What was recorded so far goes too: memory may be what is short.
            self._tell(str(error).strip().partition('\n')[0] or type(error).__name__)
            self._forget_recordings()

    def _tell(self, why: str) -> None:
        """Notes and logs why nothing is recorded any more, once."""
        if self.can_record:
            self.counts.failure = why
            logging.getLogger(__name__).warning(
                'CUDA graphs are not used, passes take longer: %s', why
            )

    def _forget_recordings(self) -> None:
        for entry in self._entries:
            entry.replay = None
        self._recorder.release()
