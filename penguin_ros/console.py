# SPDX-License-Identifier: Apache-2.0
"""What people and scripts see of a command: results on stdout, progress and errors on stderr, JSON
in files.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from penguin_ros.atomic_file import write_text
from penguin_ros.errors import PenguinError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 150
"""Characters of a line of a table where there is no terminal."""

PLAIN_TERMINALS = ('', 'dumb', 'unknown')
"""Values of TERM of terminals that only print line after line."""

ESCAPES = 'penguin_ros.escapes'
"""The name under which Python knows how we print what an encoding lacks."""


def use_any_encoding() -> None:
    """Makes stdout and stderr print what their encoding lacks as \\uXXXX, instead of failing: a
    character that is not ASCII, or a byte in the name of a file that is not UTF-8.

    JSON stays JSON by it. To be called once, before anything is printed.
    """
    codecs.register_error(ESCAPES, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):  # a program that also reads what was printed
        text, end = codecs.lookup_error('backslashreplace')(error)
        return str(text), end
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def print_error(error: PenguinError) -> None:
    """Prints at most three lines: what failed, why, and what to do next."""
    for label, text in (('error', error.what), ('why', error.why), ('next', error.fix)):
        if text:
            print(f'{label:>5}: {text}', file=sys.stderr)


def print_line(text: str) -> None:
    """Prints one line of the result on stdout, at once."""
    print(text, flush=True)


def can_draw(stream: TextIO) -> bool:
    """Returns whether a stream is a terminal on which lines can be drawn again."""
    return stream.isatty() and os.environ.get('TERM', '').lower() not in PLAIN_TERMINALS


def status_line(text: str) -> None:
    """Prints one line of progress on stderr."""
    print(f'… {text}', file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Formats a time within a recording as minutes:seconds.tenths."""
    tenths = round(seconds * 10)
    return f'{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}'


def table_console() -> Console:
    """A console for tables on stdout. Where that is no terminal it is PIPE_WIDTH wide, so that rows
    stay in one line.
    """
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def write_json(path: Path, value: Any) -> None:
    """Writes plain values as indented JSON; PenguinError when the file cannot be written."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + '\n')


@contextmanager
def progress_bar(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Yields `show(done, text)`, which draws a bar with the time left on a terminal and does
    nothing when stderr is a file, a pipe or a terminal that cannot draw.
    """
    if not can_draw(sys.stderr):
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


class GrowingText:
    """Prints a text that grows, each time only what is new.

    Feedback may skip steps, but it always carries everything so far.
    """

    def __init__(self, is_silent: bool = False) -> None:
        self._shown = ''
        self._is_silent = is_silent

    def show(self, text: str) -> None:
        """Prints the part of `text` not printed yet; a late, shorter text prints nothing."""
        if self._is_silent or not text.startswith(self._shown):
            return
        print(text[len(self._shown) :], end='', flush=True)
        self._shown = text

    def finish(self, text: str) -> None:
        """Prints the end of the text and a line break."""
        self.show(text)
        if not self._is_silent:
            print(flush=True)
