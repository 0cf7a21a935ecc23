# SPDX-License-Identifier: Apache-2.0
"""Lines of progress while a download fills a folder, from the bytes on disk. Knows nothing of who downloads or how."""
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PERIOD_SECONDS = 1.0
UNFINISHED = '.incomplete'


class DownloadProgress:
    """Reports once a second from its own thread, between entering and leaving, how much of `total_bytes` is there."""

    def __init__(self, folder: Path, name: str, total_bytes: int, report: Callable[[str], None]) -> None:
        self._folder, self._name, self._total, self._report = folder, name, total_bytes, report
        self._before = _bytes_in(folder) - _bytes_in(folder, UNFINISHED)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name='download progress', daemon=True)

    @property
    def missing_bytes(self) -> int:
        """Bytes still to come; what an interrupted download left behind counts as there."""
        return max(0, self._total - self._done())

    def __enter__(self) -> DownloadProgress:
        self._report(f'downloading {self._name}: {megabytes(self.missing_bytes)} to go')
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        if kind is None:
            self._report(f'downloaded {self._name}')

    def _run(self) -> None:
        while not self._is_over.wait(PERIOD_SECONDS):
            self._report(f'downloading {self._name}: {megabytes(self._done())} of {megabytes(self._total)}')

    def _done(self) -> int:
        return min(self._total, max(0, _bytes_in(self._folder) - self._before))


def _bytes_in(folder: Path, suffix: str = '') -> int:
    total = 0
    for path in folder.glob(f'*{suffix}'):
        try:
            total += path.stat().st_size
        except OSError:  # renamed in the meantime
            continue
    return total


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.1f} MB'
