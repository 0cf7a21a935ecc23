# SPDX-License-Identifier: Apache-2.0
"""The thread that draws, encodes and publishes for all cameras, in the order in which they have
something new.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

CLOSE_S = 2.0

Work = Callable[[], None]


class Drawing:
    """Runs each camera's work on one thread; a camera that waits already does not wait twice."""

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self._report = report
        self._waiting: dict[Work, None] = {}
        self._changed = threading.Condition()  # guards what waits
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name='drawing', daemon=True)
        self._thread.start()

    def ask(self, work: Work) -> None:
        """Has a camera's work done soon; any thread."""
        with self._changed:
            self._waiting[work] = None
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread, after what it does now."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if self._is_closing:
                    return
                work = next(iter(self._waiting))
                del self._waiting[work]
            try:
                work()
            except Exception as error:
                self._report('drawing', error)
