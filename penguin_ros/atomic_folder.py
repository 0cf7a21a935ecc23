# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, on the thread that writes it.

It is filled under a temporary name beside its place and renamed at the end. A file system that is
mounted at that place, and a folder above that may not be written, allow no rename: there the
temporary folder lies inside, and what it holds is moved up at the end.

Whoever fills a folder holds a lock on it, which the kernel takes away when the process ends,
however it ends and whatever number it had. So what killed processes left behind is known, and
removed the next time the same folder is written.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penguin_ros.atomic_file import umask

STAGING, REPLACED = 'build', 'replaced'
OF_THE_SYSTEM = ('lost+found',)
"""What file systems have at their top."""


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder, whose content takes the place of `folder` when the block ends without
    an exception.

    An older folder is replaced only then; whether it may be replaced is the caller's business. A
    link keeps leading where it leads. OSError when the system refuses.
    """
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder if _stays_in_place(folder) else folder.parent
    _remove_leftovers(folder, place)
    staging, lock = _locked_folder(folder, place)
    try:
        yield staging
        if place == folder:
            _move_up(staging, folder)
        else:
            _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _unlock(lock)


def entries(folder: Path) -> list[Path]:
    """Returns what is in a folder, without what file systems put there and what killed processes
    left.
    """
    folder = Path(os.path.realpath(folder))
    return [
        path
        for path in folder.iterdir()
        if path.name not in OF_THE_SYSTEM and not _kind(path, folder)
    ]


def is_mount_point(path: Path) -> bool:
    """Returns whether a file system, or a folder of another place, is mounted at a path."""
    if os.path.ismount(path):
        return True
    try:
        lines = Path('/proc/self/mountinfo').read_text(errors='surrogateescape').splitlines()
    except OSError:
        return False
    # Blanks in paths are written as octal numbers there.
    places = (line.split(' ')[4] for line in lines)
    wanted = os.path.realpath(path)
    return any(place.replace('\\040', ' ') == wanted for place in places)


def _stays_in_place(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return is_mount_point(folder) or not os.access(folder.parent, os.W_OK)


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(staging, folder)
        return
    lock = _lock(folder)
    replaced = _free_name(folder, folder.parent)
    try:
        os.rename(folder, replaced)
        os.rename(staging, folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        _unlock(lock)


def _move_up(staging: Path, folder: Path) -> None:
    """Replaces the content of a folder by that of the staging folder in it."""
    replaced = _free_name(folder, folder)
    replaced.mkdir()
    lock = _lock(replaced)
    try:
        for path in entries(folder):
            os.rename(path, replaced / path.name)
        for path in list(staging.iterdir()):
            os.rename(path, folder / path.name)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:
        _restore(replaced, folder)
        raise
    finally:
        _unlock(lock)


def _restore(replaced: Path, folder: Path) -> None:
    """Puts back what was set aside inside a folder."""
    for path in list(replaced.iterdir()):
        target = folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
    shutil.rmtree(replaced, ignore_errors=True)


def _remove_leftovers(folder: Path, place: Path) -> None:
    """Removes what processes that ended left behind; a folder that one of them set aside comes back
    if nothing took its place.
    """
    for path in sorted(place.iterdir()):
        kind = _kind(path, folder)
        lock = _lock(path) if kind else None
        if lock is None:  # somebody's, or nobody can tell
            continue
        try:
            if kind == REPLACED and place == folder:
                _restore(path, folder)
            elif kind == REPLACED and not folder.exists():
                os.rename(path, folder)
            else:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            _unlock(lock)


def _kind(path: Path, folder: Path) -> str:
    """STAGING or REPLACED for a temporary folder of ours, '' for anything else."""
    kind, dash, _ = path.name.removeprefix(f'.{folder.name}.').partition('-')
    is_ours = path.name.startswith(f'.{folder.name}.') and dash and kind in (STAGING, REPLACED)
    return kind if is_ours and path.is_dir() else ''


def _locked_folder(folder: Path, place: Path) -> tuple[Path, int | None]:
    """Makes the staging folder. Between that and its lock somebody may have removed it."""
    while True:
        try:
            staging = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.{STAGING}-', dir=place))
        except OSError as error:  # which names the temporary folder, and nobody knows that one
            raise OSError(error.errno, error.strerror, str(place)) from error
        staging.chmod(0o777 & ~umask())
        lock = _lock(staging)
        if staging.exists():
            return staging, lock
        _unlock(lock)


def _free_name(folder: Path, place: Path) -> Path:
    taken = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.{REPLACED}-', dir=place))
    taken.rmdir()
    return taken


def _lock(folder: Path) -> int | None:
    """Takes the lock of a folder; None when somebody has it, or when it cannot be taken."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        with suppress(OSError):
            os.close(descriptor)
