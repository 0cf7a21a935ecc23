# SPDX-License-Identifier: Apache-2.0
"""Where files that are made once are kept for this user: bundles, timings, engines of ONNX Runtime.

It is $XDG_CACHE_HOME, or .cache in the home folder. Containers run users who have no home, or one
that they may not write; for them it is a folder of their own among the temporary files.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from penguin_ros.errors import CacheUnusable

FOLDER = 'penguin_ros'
FIX = 'Set HOME or XDG_CACHE_HOME to a folder that this user may write'


def user_cache(name: str = '', tell: Callable[[str], None] = lambda line: None) -> Path:
    """Returns the folder `name` of this user's cache; it need not exist yet, but can be made.

    `tell` is called with a line of text where it lies among the temporary files. CacheUnusable when
    nothing can be written there either.
    """
    usual, objection = _usual_folder()
    if usual is not None and can_be_made(usual):
        return usual / FOLDER / name
    objection = objection or f'{usual} cannot be written'
    folder = _temporary_folder(objection)
    tell(f'the cache lies in {folder}, which does not last: {objection}. {FIX}')
    return folder / name


def can_be_made(folder: Path) -> bool:
    """Returns whether this user may write a folder, or may make it and what lies above it."""
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError:  # what lies above may not even be looked at
        return False
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def home_folder() -> Path | None:
    """Returns the user's home; None for one without HOME and without an entry among the users."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def expanded(path: str) -> str:
    """Returns a path, or what else a user may name, with a leading ~ replaced by the home folder:
    shells leave it as it is after `:=` and `=`. Without such a home it stays as it is.
    """
    if not path.startswith('~'):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path


def _usual_folder() -> tuple[Path | None, str]:
    """The folder that the environment names; None and the reason when it names none."""
    named = os.environ.get('XDG_CACHE_HOME')
    if named:
        return Path(named), ''
    home = home_folder()
    if home is None:
        return None, 'HOME is not set, and this user has no entry in /etc/passwd'
    return home / '.cache', ''


def _temporary_folder(objection: str) -> Path:
    """A folder that nobody else can write: others may have put one of that name there."""
    folder = Path(FOLDER)
    try:
        folder = Path(tempfile.gettempdir()) / f'{FOLDER}-{os.getuid()}'
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise CacheUnusable(
            'there is no folder for a cache', f'{objection}; {folder}: {error.strerror}', FIX
        ) from error
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
    if not is_ours or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheUnusable(
            'there is no folder for a cache', f'{objection}; {folder} belongs to others', FIX
        )
    return folder
