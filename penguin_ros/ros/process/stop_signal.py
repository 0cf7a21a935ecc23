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
from collections.abc import Callable
from types import FrameType

LIMIT_S = 4.5  # launch escalates from SIGINT to SIGTERM after 5 s


class StopSignal:
    """Whether the process was asked to stop.

    It is to be installed once, on the main thread, before anything slow is imported.
    """

    def __init__(self) -> None:
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
        self.request()
        threading.Event().wait(LIMIT_S)
        # A call into a library cannot be interrupted; leaving is what was asked for.
        sys.stderr.write(
            f'penguin_ros: a call of the model did not end within {LIMIT_S} s; '
            'leaving without waiting for it\n'
        )
        sys.stderr.flush()
        os._exit(0)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: the pipe has the signal already."""
