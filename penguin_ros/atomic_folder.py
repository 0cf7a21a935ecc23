# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, on the thread that writes it.

It is filled under a temporary name beside its place and renamed at the end. What killed processes
left behind is removed the next time the same folder is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING, REPLACED = 'build', 'replaced'


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an
    exception.

    An older folder is replaced only then; whether it may be replaced is the caller's business.
    OSError when the disk refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    staging = _beside(folder, STAGING)
    staging.mkdir()
    try:
        yield staging
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(staging, folder)
        return
    replaced = _beside(folder, REPLACED)
    os.rename(folder, replaced)
    os.rename(staging, folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Removes what processes that ended left behind; a folder that one of them set aside comes back
    if nothing took its place.
    """
    for path in sorted(folder.parent.glob(f'.{folder.name}.*-*')):
        kind, _, process = path.name.removeprefix(f'.{folder.name}.').rpartition('-')
        is_ours = kind in (STAGING, REPLACED) and process.isdecimal()
        if not is_ours or Path('/proc', process).exists():
            continue
        if kind == REPLACED and not folder.exists():
            os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f'.{folder.name}.{kind}-{os.getpid()}')
