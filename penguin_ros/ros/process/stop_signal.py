# SPDX-License-Identifier: Apache-2.0
"""Notices SIGINT and SIGTERM without interrupting anyone, also while C code runs.

rclpy's own handlers shut the context down at once, after which no goal could be told that it is
aborted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from penguin_ros.ros.process.shared_memory import remove_own_segments
from penguin_ros.text import counted

LIMIT_S = 4.5  # launch escalates from SIGINT to SIGTERM after 5 s, and kills after 10
LATEST_S = 8.5
"""Time in which this process was stopped or the machine busy with others counts up to here only."""
TICK_S = 0.1
MODEL_THREAD = 'penguin worker'


class StopSignal:
    """Whether the process was asked to stop.

    It is to be installed once, on the main thread, before anything slow is imported. `program` and
    what was last entered are told when the process does not end in time.
    """

    def __init__(self, program: str = 'penguin_ros') -> None:
        self._program = program
        self._stage = 'starting'
        self._is_set = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def install(self) -> None:
        """Takes over SIGINT and SIGTERM.

        The interpreter writes their numbers into a pipe, which a thread of its own reads.
        """
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        threading.Thread(
            target=self._watch, args=(read_end,), name='stop-signal', daemon=True
        ).start()

    def enter(self, stage: str) -> None:
        """Notes what the main thread does from now on, in words that follow on `busy with`."""
        self._stage = stage

    def is_set(self) -> bool:
        """Returns whether the process was asked to stop."""
        return self._is_set.is_set()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Calls back once when the process is asked to stop, on the thread that notices it.

        When it was asked to stop already, the call comes at once.
        """
        with self._lock:
            if not self._is_set.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def request(self) -> None:
        """Does what a signal does."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._is_set.set()
        for callback in callbacks:
            callback()

    def _watch(self, read_end: int) -> None:
        while not {int(signal.SIGINT), int(signal.SIGTERM)} & set(os.read(read_end, 64)):
            pass
        start_s = time.monotonic()
        self.request()
        _wait_awake()
        # A call into a library cannot be interrupted; leaving is what was asked for.
        seconds = time.monotonic() - start_s
        removed = remove_own_segments()
        memory = (
            f'; removed its shared memory ({counted(len(removed), "segment")})' if removed else ''
        )
        sys.stderr.write(
            f'{self._program}: {seconds:.1f} s after it was asked to stop, it is still busy with '
            f'{self._doing()}; leaving without waiting for the end of that{memory}\n'
        )
        sys.stderr.flush()
        os._exit(0)

    def _doing(self) -> str:
        """Says what does not end: a step of the model where its thread is alive."""
        names = {thread.name for thread in threading.enumerate()}
        return 'a step of the model' if MODEL_THREAD in names else self._stage


def _wait_awake() -> None:
    """Waits LIMIT_S of this process's own time: a process that was stopped, or got no processor,
    has had no chance to end meanwhile. It waits LATEST_S at most.
    """
    own_s = 0.0
    start_s = last_s = time.monotonic()
    while own_s < LIMIT_S and last_s - start_s < LATEST_S:
        threading.Event().wait(TICK_S)
        now_s = time.monotonic()
        own_s += min(now_s - last_s, 2 * TICK_S)
        last_s = now_s


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: the pipe has the signal already."""
