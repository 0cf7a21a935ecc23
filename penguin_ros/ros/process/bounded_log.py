# SPDX-License-Identifier: Apache-2.0
"""Logs what may come again and again: the first time at once, then at most once a minute with the
number of times. It belongs to the executor's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

from penguin_ros.frame import NANOSECONDS

PERIOD_NS = 60 * NANOSECONDS
CAUSES_KEPT = 1000


class BoundedLog:
    """Writes to a node's logger; texts of one `cause` may differ."""

    def __init__(self, logger: Any, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._logger = logger
        self._steady_ns = steady_ns
        self._last: dict[Hashable, tuple[int, int]] = {}

    def info(self, cause: Hashable, text: str) -> None:
        """Logs what is no fault."""
        if told := self._told(cause, text):
            self._logger.info(told)

    def warning(self, cause: Hashable, text: str) -> None:
        """Logs what may be wrong."""
        if told := self._told(cause, text):
            self._logger.warning(told)

    def error(self, cause: Hashable, text: str) -> None:
        """Logs what is wrong."""
        if told := self._told(cause, text):
            self._logger.error(told)

    def _told(self, cause: Hashable, text: str) -> str:
        """Returns the line, '' when there is to be none now."""
        now_ns = self._steady_ns()
        if cause not in self._last:
            if len(self._last) >= CAUSES_KEPT:
                self._last.clear()
            self._last[cause] = now_ns, 0
            return text
        logged_ns, unlogged = self._last[cause]
        if now_ns - logged_ns < PERIOD_NS:
            self._last[cause] = logged_ns, unlogged + 1
            return ''
        self._last[cause] = now_ns, 0
        seconds = (now_ns - logged_ns) // NANOSECONDS
        return f'{text} ({unlogged + 1} times in {seconds} s)' if unlogged else text
