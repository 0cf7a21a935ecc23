# SPDX-License-Identifier: Apache-2.0
"""What a request brings is prepared on a thread of its own, beside the worker: images are decoded,
a JSON schema is compiled.

Meanwhile the request waits in the scheduler's line, where others pass it (Job.is_ready). So its
place, its deadline, its cancellation and the number of requests that wait are the scheduler's
business, as for any other request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from penguin_ros.errors import PenguinError
from penguin_ros.libraries import libraries_needed


class Preparable(Protocol):
    """A thing that a request brings."""

    @property
    def is_ready(self) -> bool:
        """Whether it is prepared; any thread."""

    def prepare(self) -> None:
        """Prepares it, unless it is dropped meanwhile; on the preparer's thread. Raises a
        PenguinError when it cannot be used.
        """

    def drop(self) -> None:
        """Frees what it holds, since nobody needs it any more; any thread."""


class Preparer:
    """Prepares the things of one request after the other; `report` gets a sentence and an exception
    that nobody expected. The thread begins with the first thing.
    """

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self._report = report
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix='penguin preparer')

    def start(
        self, things: Sequence[Preparable], on_end: Callable[[PenguinError | None], None]
    ) -> None:
        """Returns at once; `on_end` is called on the preparer's thread, with the error if there was
        one, and never after `close`.
        """
        with suppress(RuntimeError):  # closed meanwhile: the scheduler ends the request
            self._pool.submit(self._prepare, things, on_end)

    def close(self) -> None:
        """Prepares nothing further."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(
        self, things: Sequence[Preparable], on_end: Callable[[PenguinError | None], None]
    ) -> None:
        failure: PenguinError | None = None
        try:
            with libraries_needed():
                for thing in things:
                    thing.prepare()
        except PenguinError as error:
            failure = error.fresh()
        except Exception as error:
            self._report('preparing what a request brings failed', error)
            failure = PenguinError(
                'what the request brings could not be prepared',
                repr(error),
                'The log has the details',
            )
        on_end(failure)
