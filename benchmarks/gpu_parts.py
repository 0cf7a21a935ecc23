# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks for a borrowed GPU have in common: their parts run one after the other, the
most valuable first, each within a limit and all within the minutes that there are; the file is
complete after every figure, so that whatever stops them leaves what was found until then.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

LEAST_S = 5.0
"""A part with less time than this is not begun."""

GRACE_S = 20.0
"""A part whose limit was over so long ago hangs in the driver: the process ends."""

HUNG = 3
"""The exit code then."""


class OutOfTimeError(BaseException):
    """The limit of a part is over. Nothing but `run_parts` is to catch it."""


@dataclass
class Record:
    """What was found, and the file that it is written to, None for none."""

    path: Path | None = None
    found: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Replaces the file in one step."""
        if self.path is None:
            return
        staging = self.path.with_name(f'.{self.path.name}.new')
        staging.write_text(json.dumps(self.found, indent=1, default=str), encoding='utf-8')
        staging.replace(self.path)


@dataclass(frozen=True)
class Part:
    """`run` finds something out, in `limit_s` at the most."""

    name: str
    limit_s: float
    run: Callable[[], None]


def run_parts(parts: Sequence[Part], record: Record, minutes: float) -> list[str]:
    """Runs all parts; returns the names of those that failed or had no time. Each is told with its
    seconds and, where it failed, the reason.
    """
    end, failed = time.monotonic() + 60 * minutes, []
    for part in parts:
        begin = time.monotonic()
        limit = min(part.limit_s, end - begin)
        if limit < LEAST_S:
            why = 'not run: the time was over'
        else:
            print(f'== {part.name}: at most {limit:.0f} s', file=sys.stderr, flush=True)
            why = _why_it_failed(part, limit, record)
        if why:
            record.found[f'{part.name}: failed'] = why
            failed.append(part.name)
            print(f'{part.name}: {why}', file=sys.stderr, flush=True)
        record.found.setdefault('seconds', {})[part.name] = round(time.monotonic() - begin, 1)
        record.save()
    return failed


def _why_it_failed(part: Part, limit: float, record: Record) -> str:
    try:
        with limited(limit, lambda: _give_up(part, record)):
            part.run()
    except OutOfTimeError:
        return f'ended after {limit:.0f} s; what it found until then stands'
    except Exception as error:  # the other parts are worth their time on a GPU
        return repr(error)
    return ''


@contextmanager
def limited(seconds: float, give_up: Callable[[], None]) -> Iterator[None]:
    """Raises OutOfTimeError in the block when its time is over; where that does not end it, since
    it waits in the driver, `give_up` is called on another thread.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    watch = threading.Timer(seconds + GRACE_S, give_up)
    watch.daemon = True
    watch.start()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        watch.cancel()


def _give_up(part: Part, record: Record) -> None:
    record.found[f'{part.name}: failed'] = 'it hung, and the process was ended'
    record.save()
    os._exit(HUNG)


def require(packages: Mapping[str, str], optional: Mapping[str, str], record: Record) -> None:
    """Notes the versions of packages, by their names in imports; ends the process at once where one
    that is needed is missing, and says what cannot be measured where one of the others is.
    """
    missing = {name: what for name, what in packages.items() if not _is_there(name)}
    if missing:
        for name, what in missing.items():
            print(f'{name} is missing: {what}', file=sys.stderr)
        sys.exit(2)
    for name, what in optional.items():
        if not _is_there(name):
            print(f'{name} is missing, and is left out: {what}', file=sys.stderr, flush=True)
    every = (*packages, *optional)
    record.found['packages'] = {name: _version(name) for name in every if _is_there(name)}
    record.save()


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # what it lies in is missing
        return False


def _version(name: str) -> str:
    from importlib.metadata import packages_distributions, version

    owners = packages_distributions().get(name.partition('.')[0], [])
    return ', '.join(f'{owner} {version(owner)}' for owner in sorted(set(owners))[:4])
