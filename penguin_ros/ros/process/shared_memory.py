# SPDX-License-Identifier: Apache-2.0
"""Removes the shared memory of Fast DDS that this process owns, when it leaves without destroying
its nodes.

Fast DDS unlinks the memory when a participant is destroyed, and never for a process that is gone:
a camera's segment has 64 MiB. Who owns a segment holds a lock on the file `<segment>_el` beside it,
which the kernel lists by process. May be called from any thread; nothing here imports rclpy.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path('/dev/shm')
LOCKS = Path('/proc/locks')
PREFIXES = ('fastrtps_', 'fastdds_')
_LOCK_FILE = '_el'


def remove_own_segments() -> tuple[str, ...]:
    """Removes them and returns their names; those of other processes stay.

    Peers that have mapped a segment keep their mapping, as they do when Fast DDS removes it.
    """
    locked = _locked_inodes()
    removed = []
    for prefix in PREFIXES if locked else ():
        for lock in FOLDER.glob(f'{prefix}*{_LOCK_FILE}'):
            if _inode(lock) in locked:
                removed.append(lock.name.removesuffix(_LOCK_FILE))
    for name in removed:
        for path in (FOLDER / name, FOLDER / f'{name}{_LOCK_FILE}', FOLDER / f'sem.{name}_mutex'):
            path.unlink(missing_ok=True)
    return tuple(sorted(removed))


def _locked_inodes() -> set[int]:
    """Returns the inodes that this process holds a lock for writing on; none where the kernel does
    not tell.
    """
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return set()
    own = str(os.getpid())
    # 1: FLOCK  ADVISORY  WRITE 19908 00:1b:351845 0 EOF
    fields = [line.split() for line in lines]
    return {
        int(words[5].rpartition(':')[2])
        for words in fields
        if len(words) > 5 and words[3] == 'WRITE' and words[4] == own
    }


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:  # it went meanwhile
        return -1
