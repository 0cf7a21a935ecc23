# SPDX-License-Identifier: Apache-2.0
"""The one thread that writes to a store.

It gathers what comes for a while and commits it at once. Calls that change the store run between
two commits, on the same thread. What fails is counted, and the last failure kept, for everybody to
see; entries that could not be written wait, bounded, and are tried again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from penguin_ros.errors import PenguinError, StoreError
from penguin_ros.memory.database import is_full
from penguin_ros.memory.entry import NewEntry

if TYPE_CHECKING:
    from penguin_ros.memory.changes import Changes

T = TypeVar('T')
MAX_BATCH = 2000
MAX_BATCH_CHARACTERS = 1 << 20
RETRY_SECONDS = 2.0
ATTEMPTS = 5
IDLE_SECONDS = 1.0
PICTURE_BYTES_WAITING = 64 << 20


class Writer:
    """Runs the changes of a store on a thread of its own; other threads call everything here."""

    def __init__(self, changes: Changes, commit_seconds: float, max_waiting: int) -> None:
        self._changes = changes
        self._commit_seconds = commit_seconds
        self._max_waiting = max_waiting
        self._condition = threading.Condition()
        self._entries: deque[tuple[NewEntry, int]] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._picture_bytes = 0
        self._due = 0.0
        self._is_closing = False
        self._has_upkeep = False
        self.errors: Counter[str] = Counter()
        self.last_error = ''
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name='memory-writer', daemon=True)
        self._thread.start()

    def add(self, entry: NewEntry, session: int, is_patient: bool) -> bool:
        """Hands an entry over. When too many wait: waits for room, or returns False and counts."""
        with self._condition:
            while self._is_crowded() and not self._is_closing:
                if not is_patient:
                    self.dropped += 1
                    return False
                self._condition.wait(0.1)
            if self._is_closing:
                raise StoreError('nothing can be remembered', 'the store is closed')
            if not self._entries:
                self._due = time.monotonic() + self._commit_seconds
            self._entries.append((entry, session))
            self._picture_bytes += len(entry.picture)
            if len(self._entries) in (1, MAX_BATCH):
                self._condition.notify_all()
        return True

    def _is_crowded(self) -> bool:
        return (
            len(self._entries) >= self._max_waiting or self._picture_bytes > PICTURE_BYTES_WAITING
        )

    def call(self, change: Callable[[], T], timeout: float | None = None) -> T:
        """Runs a change on the writer's thread, after all that was handed over before."""
        future: Future[T] = Future()
        with self._condition:
            if self._is_closing:
                raise StoreError('the memory cannot be changed', 'the store is closed')
            self._calls.append((change, future))
            self._condition.notify_all()
        return future.result(timeout)

    @property
    def waiting(self) -> int:
        """Entries that are not committed yet."""
        return len(self._entries)

    def close(self) -> None:
        """Commits what waits, and ends the thread."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wait()
            is_closing = self._is_closing
            is_written = self._write_batches()
            self._run_calls()
            if is_closing and (not self._entries or not is_written):
                break
            if not is_written:
                self._pause()
            elif not self._entries:
                self._has_upkeep = bool(self._guarded('upkeep', self._changes.keep_up))
        with self._condition:
            self.dropped += len(self._entries)
            calls, self._calls = self._calls, deque()
        for _, future in calls:
            future.set_exception(StoreError('the memory cannot be changed', 'the store is closed'))
        self._guarded('close', self._changes.close)

    def _wait(self) -> None:
        """Waits until a batch is due, there is a call, or nothing has come for a while."""
        idle = time.monotonic() + (0.0 if self._has_upkeep else IDLE_SECONDS)
        with self._condition:
            while not self._is_closing and not self._calls and len(self._entries) < MAX_BATCH:
                rest = (self._due if self._entries else idle) - time.monotonic()
                if rest <= 0:
                    return
                self._condition.wait(rest)

    def _pause(self) -> None:
        with self._condition:
            self._due = time.monotonic() + RETRY_SECONDS
            if not self._is_closing:
                self._condition.wait(RETRY_SECONDS)

    def _write_batches(self) -> bool:
        """Commits all that waits; False when that was not possible."""
        while self._entries:
            with self._condition:
                batch = self._next_batch()
            if not self._write(batch):
                return False
            with self._condition:
                for _ in batch:
                    entry, _session = self._entries.popleft()
                    self._picture_bytes -= len(entry.picture)
                self._due = time.monotonic() + self._commit_seconds
                self._condition.notify_all()
        return True

    def _next_batch(self) -> list[tuple[NewEntry, int]]:
        """Returns the first of those that wait, so that a transaction stays small."""
        batch: list[tuple[NewEntry, int]] = []
        size = 0
        for entry, session in self._entries:
            size += len(entry.text) + len(entry.question)
            if batch and (size > MAX_BATCH_CHARACTERS or len(batch) == MAX_BATCH):
                break
            batch.append((entry, session))
        return batch

    def _write(self, batch: list[tuple[NewEntry, int]]) -> bool:
        for _ in range(ATTEMPTS):
            try:
                self._changes.add(batch)
                return True
            except Exception as error:  # seen by all through `errors`
                self._note('write', error)
                if is_full(error):
                    if not self._guarded('make room', self._changes.make_room):
                        return False
                elif isinstance(error, (sqlite3.OperationalError, OSError)):
                    return False
                else:
                    break
        else:
            return False
        if len(batch) == 1:
            self.dropped += 1  # it cannot be stored, whatever is tried
            return True
        written = [self._write([each]) for each in batch]
        return all(written)

    def _run_calls(self) -> None:
        while self._calls:
            change, future = self._calls.popleft()
            try:
                future.set_result(change())
            except Exception as error:
                if not isinstance(error, PenguinError):
                    self._note('change', error)
                future.set_exception(error)

    def _guarded(self, what: str, change: Callable[[], T]) -> T | None:
        try:
            return change()
        except Exception as error:  # seen by all through `errors`; the thread lives
            self._note(what, error)
            return None

    def _note(self, what: str, error: Exception) -> None:
        with suppress(Exception):
            self.errors[what] += 1
            self.last_error = f'{what}: {type(error).__name__}: {error}'
