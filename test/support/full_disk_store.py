# SPDX-License-Identifier: Apache-2.0
"""Writes to a store on a disk of 20 MiB until long after that is full, and prints what became of
it as one JSON object. It mounts that disk, so run it in a name space of its own:

    unshare -rm python full_disk_store.py FOLDER
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from support.memory_entries import caption

from penguin_ros.memory.database import DATABASE
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.memory.store import Store

ENTRIES = 1200


def main() -> None:
    """Fills the disk, and looks at the store."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', folder], check=True)
    chance = random.Random(1)
    limits = StoreLimits(commit_seconds=0.05, min_free_mebibytes=0)
    picture_stops = leaves = None
    with Store.open(folder, limits) as store:
        for number in range(ENTRIES):
            text = f'number{number} ' + ' '.join(f'w{chance.randrange(3000)}' for _ in range(900))
            picture = b'\xff\xd8\xff' + os.urandom(4000)
            entry = caption(number, text, picture=picture, is_pinned=number == 5)
            store.add(entry, is_patient=True)
            if number % 20 == 0:
                store.flush()
                trouble = store.stats().trouble
                picture_stops = picture_stops or (trouble and number)
                leaves = leaves or ('oldest' in trouble and number)
        deadline = time.monotonic() + 20
        while store.stats().waiting and time.monotonic() < deadline:
            store.flush()
            time.sleep(0.05)
        found = store.recall(Filter(limit=ENTRIES)).hits
        pinned = next((hit.entry for hit in found if hit.entry.is_pinned), None)
        stats = store.stats()
        whole = bool(pinned) and bool(store.picture(pinned))
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        integrity = connection.execute('PRAGMA integrity_check').fetchone()[0]
    print(json.dumps({
        'pictures_stop_at': picture_stops, 'oldest_leave_at': leaves,
        'newest': found[0].entry.text[:10],
        'kept': len(found), 'pinned_is_whole': whole, 'dropped': stats.dropped,
        'waiting': stats.waiting, 'errors': stats.errors, 'integrity': integrity,
    }))  # fmt: skip


if __name__ == '__main__':
    main()
