# SPDX-License-Identifier: Apache-2.0
"""How things look on a terminal: results on stdout, progress and errors on stderr. Knows no verb."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penguin_ros.errors import PenguinError


def print_error(error: PenguinError) -> None:
    """Three lines at most: what failed, why, what to do next."""
    for label, text in (('error', error.what), ('why', error.why), ('next', error.fix)):
        if text:
            print(f'{label:>5}: {text}', file=sys.stderr)


def print_line(text: str) -> None:
    """One line of result on stdout, at once."""
    print(text, flush=True)


def clock(seconds: float) -> str:
    """Media time as minutes:seconds.tenths."""
    tenths = round(seconds * 10)
    return f'{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}'


@contextmanager
def progress_bar(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Yields `show(done, text)`; a bar with an estimate on a terminal, nothing when stderr is a
    file or pipe.
    """
    if not sys.stderr.isatty():
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeRemainingColumn(),
        TextColumn('{task.fields[text]}'),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total or None, text='')
        yield lambda done, text: bar.update(task, completed=done, text=text)


def status_line(text: str) -> None:
    """One line of progress on stderr."""
    print(f'… {text}', file=sys.stderr, flush=True)


class GrowingText:
    """Prints what is new of a text that grows; feedback may skip steps but always carries
    everything so far.
    """

    def __init__(self, is_silent: bool = False) -> None:
        self._shown, self._is_silent = '', is_silent

    def show(self, text: str) -> None:
        """Prints the part of `text` not printed yet; a late, shorter text prints nothing."""
        if self._is_silent or not text.startswith(self._shown):
            return
        print(text[len(self._shown) :], end='', flush=True)
        self._shown = text

    def finish(self, text: str) -> None:
        """The end of the answer and a line break."""
        self.show(text)
        if not self._is_silent:
            print(flush=True)
