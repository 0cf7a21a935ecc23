# SPDX-License-Identifier: Apache-2.0
"""Keeps a node alive when one of its callbacks raises: the exception is counted, and the first of
its kind is logged with its traceback.

Without the guard an exception in any callback ends the executor's spin. It may be used from any
thread.
"""

from __future__ import annotations

import functools
import inspect
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any


class CallbackGuard:
    """Wraps callbacks and counts their exceptions; `last_fault` describes the newest one."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._lock = threading.Lock()  # guards everything below
        self._faults: Counter[str] = Counter()
        self.last_fault = ''

    @property
    def faults(self) -> dict[str, int]:
        """The number of exceptions per place and type since the start."""
        with self._lock:
            return dict(self._faults)

    def wrap(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the callback, which now returns None where it would have raised.

        A coroutine function stays one.
        """
        named = callback.func if isinstance(callback, functools.partial) else callback
        place = getattr(named, '__qualname__', repr(named))
        if inspect.iscoroutinefunction(callback):

            @functools.wraps(callback)
            async def guarded_coroutine(*arguments: Any) -> Any:
                try:
                    return await callback(*arguments)
                except Exception as error:
                    self.report(place, error)

            return guarded_coroutine

        @functools.wraps(callback)
        def guarded(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                self.report(place, error)

        return guarded

    def report(self, place: str, error: BaseException) -> None:
        """Counts an exception, and logs it with its traceback if it is the first of its place and
        type.
        """
        key = f'{type(error).__name__} in {place}'
        with self._lock:
            self._faults[key] += 1
            is_first = self._faults[key] == 1
            self.last_fault = f'{key}: {error}'
        if is_first:
            text = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
            self._logger.error(
                f'{key}; the node goes on, repetitions are counted in its diagnostics.\n{text}'
            )
