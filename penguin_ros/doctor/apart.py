# SPDX-License-Identifier: Apache-2.0
"""Runs the checks in a process of their own, so that a library that ends the process when it is
imported (it was built for other processors, or for another numpy) is a line of the report, and not
the end of it.

The process is a fork, which costs nothing; it sends what it begins and what it finds. Where it
dies, what it had begun is a fault, and another one makes the checks again without it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from penguin_ros.doctor.finding import Finding, State

MOST_DEATHS = 8


class Progress:
    """What a check says of itself: `begin` names what may end the process; `deaths` are the names
    that did so before, with the words for it.
    """

    def __init__(self, deaths: dict[str, str] | None = None, pipe: IO[bytes] | None = None) -> None:
        self.deaths = deaths or {}
        self._pipe = pipe

    def begin(self, name: str) -> None:
        """Notes that what follows belongs to `name`."""
        self.send(name)

    def send(self, value: Any) -> None:
        """Sends a value to whoever watches."""
        if self._pipe is not None:
            pickle.dump(value, self._pipe)
            self._pipe.flush()


def watched(make: Callable[[Progress], Iterator[Finding]]) -> list[Finding]:
    """Returns all findings of the checks that `make` runs, and a fault for each that ended its
    process.
    """
    if not _can_fork():
        return list(make(Progress()))
    deaths: dict[str, str] = {}
    while len(deaths) < MOST_DEATHS:
        found, begun, status = _once(make, deaths)
        if not os.WIFSIGNALED(status):
            break
        number = os.WTERMSIG(status)
        if number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt
        deaths[begun] = f'it ends the process: {signal.strsignal(number) or number}'
    told = {finding.topic for finding in found}
    return found + [
        Finding(name, State.FAULT, text) for name, text in deaths.items() if name not in told
    ]


def _once(
    make: Callable[[Progress], Iterator[Finding]], deaths: dict[str, str]
) -> tuple[list[Finding], str, int]:
    """Runs the checks once; returns what was found, what was begun last, and how it ended."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(make, deaths, writing)
    os.close(writing)
    found: list[Finding] = []
    begun = 'doctor'
    with os.fdopen(reading, 'rb') as pipe:
        while True:
            try:
                value = pickle.load(pipe)
            except (EOFError, pickle.UnpicklingError):
                break
            if isinstance(value, BaseException):
                os.waitpid(child, 0)
                raise value
            if isinstance(value, Finding):
                found.append(value)
            else:
                begun = str(value)
    return found, begun, os.waitpid(child, 0)[1]


def _run(make: Callable[[Progress], Iterator[Finding]], deaths: dict[str, str], pipe: int) -> None:
    """What the process of the checks does."""
    with os.fdopen(pipe, 'wb') as stream:
        progress = Progress(deaths, stream)
        try:
            for finding in make(progress):
                progress.send(_plain(finding))
        except BaseException as error:  # told by the process that watches
            with contextlib.suppress(Exception):
                progress.send(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _plain(finding: Finding) -> Finding:
    """The same finding of plain texts. Torch's version is a text of its own kind, and whoever
    unpickles that imports torch, which takes longer than all checks.
    """
    texts = (finding.topic, finding.text, finding.fix)
    topic, text, fix = (''.join(tuple(each)) for each in texts)
    return Finding(topic, finding.state, text, fix)


def _can_fork() -> bool:
    """Whether this process has one thread only: a fork has no other."""
    try:
        return len(os.listdir('/proc/self/task')) == 1
    except OSError:
        return False
