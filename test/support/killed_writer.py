# SPDX-License-Identifier: Apache-2.0
"""Kills a process that writes to a store, at random points, and looks at what is left each time.

    python killed_writer.py FOLDER KILLS LONGEST_SECONDS COMMIT_SECONDS

It prints what was found as one JSON object. Processes are forked, so that a kill costs no start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from support.memory_entries import caption

from penguin_ros.memory.database import DATABASE
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.memory.store import Store

PICTURE = b'\xff\xd8\xff' + bytes(3000)


def write(folder: Path, first: int, limits: StoreLimits, report: int) -> None:
    """Adds entries until it is killed: tells of each when it was added, and of every tenth or so
    that it is committed.
    """
    chance = random.Random(first)
    store = Store.open(folder, limits)
    for number in range(first, first + 10**6):
        picture = PICTURE + b'%d' % number if number % 3 == 0 else b''
        store.add(caption(number, f'number{number} a red box', picture=picture), is_patient=True)
        os.write(report, b'%d added %d\n' % (number, time.monotonic_ns()))
        if chance.random() < 0.1:
            store.flush()
            os.write(report, b'%d committed 0\n' % number)
        time.sleep(chance.random() * 0.004)


def kill_one(folder: Path, first: int, limits: StoreLimits, longest: float) -> list[list[str]]:
    """Starts a writer and kills it; returns what it told, with how long before its end."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        try:
            write(folder, first, limits, writable)
        finally:
            os._exit(1)
    os.close(writable)
    time.sleep(random.random() * longest)
    os.kill(pid, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    os.waitpid(pid, 0)
    with os.fdopen(readable) as told:
        words = [line.split() for line in told if line.endswith('\n')]
    return [[number, what, str(killed_ns - int(when))] for number, what, when in words]


def look(folder: Path) -> set[int]:
    """Checks that the store is whole; returns the numbers of its entries."""
    with Store.open(folder) as store:
        hits = store.recall(Filter(limit=10_000)).hits
        for hit in hits[:200]:
            if hit.entry.has_picture:
                store.picture(hit.entry)
        assert store.stats().note == '', store.stats().note
        files = {path.stem for path in folder.rglob('*.jpg')}
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        assert connection.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
        connection.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
        stored = {row[0].hex() for row in connection.execute('SELECT digest FROM picture')}
    assert files == stored, 'pictures and rows differ'
    return {int(hit.entry.text.split()[0].removeprefix('number')) for hit in hits}


def main() -> None:
    """Kills, looks, and prints what was lost."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    longest, limits = float(sys.argv[3]), StoreLimits(commit_seconds=float(sys.argv[4]))
    first, added, lost_ms, unkept = 0, 0, [0.0], 0
    for number in range(kills):
        told = kill_one(folder, first, limits, longest)
        there = look(folder)
        numbers = [int(each) for each, what, _ in told if what == 'added']
        committed = max((int(each) for each, what, _ in told if what == 'committed'), default=-1)
        unkept += sum(each not in there for each in numbers if each <= committed)
        lost_ms += [
            int(before) / 1e6
            for each, what, before in told
            if what == 'added' and int(each) not in there
        ]
        added += len(numbers)
        first = max([first, *there, *numbers]) + 1
        if len(there) > 3000:  # a new store now and then: looking takes time
            folder = folder.with_name(f'{folder.name}-{number}')
    print(json.dumps({'kills': kills, 'added': added, 'oldest_lost_ms': max(lost_ms),
                      'committed_and_lost': unkept}))  # fmt: skip


if __name__ == '__main__':
    main()
