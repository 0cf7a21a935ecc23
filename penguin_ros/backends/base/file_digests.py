# SPDX-License-Identifier: Apache-2.0
"""Whether a file is the one that was written, by its size and sha256; each file is read once.

What was read is recorded beside the files, with size, time of change and inode. While these three
are the same the file counts as unchanged. A copy has other inodes and is read again. A file that
changed a moment ago is not recorded, since a second change within the clock's step would not show.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penguin_ros.backends.base.manifest import FileSpec
from penguin_ros.board_memory.page_cache import drop
from penguin_ros.errors import CacheUnusable
from penguin_ros.user_cache import user_cache

RECORD = '.digests.json'
READ_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 1024 * 1024
SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class Stamp:
    """By what a file is known without reading it."""

    size: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Returns the stamp of a file as it is now; OSError where there is none."""
        facts = path.stat()
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ino)

    @property
    def is_settled(self) -> bool:
        """Whether the last change is long enough ago."""
        return self.changed_ns < time.time_ns() - SETTLED_NS


class FileDigests:
    """The files of one folder, and what is recorded of them. With `is_trusting` False every file is
    read. With `leaves_memory` what was read is taken out of the page cache.
    """

    def __init__(self, folder: Path, is_trusting: bool = True, leaves_memory: bool = False) -> None:
        self._folder = folder
        self._leaves_memory = leaves_memory
        self._recorded = _read(folder)
        self._trusted = dict(self._recorded) if is_trusting else {}

    def problem(self, name: str, spec: FileSpec) -> str:
        """Returns what is wrong with a file; '' when it is the one that was written. OSError when
        the system does not let it be read, although it is there.
        """
        path = self._folder / name
        try:
            stamp = Stamp.of(path)
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            if stamp.size != spec.bytes:
                return f'{path.name} has {stamp.size} bytes, {spec.bytes} were written'
            if self._digest(name, stamp) == spec.sha256:
                return ''
            self._recorded.pop(name, None)
            return f'{path.name} was changed'
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            return f'{path.name}: {error.strerror}'

    def save(self) -> None:
        """Keeps what was read, beside the files or, where these may not be written, in the user's
        cache; where neither is possible, they are read again the next time.
        """
        for name in [name for name in self._recorded if not (self._folder / name).is_file()]:
            del self._recorded[name]
        if self._recorded == _read(self._folder):
            return
        text = json.dumps(self._recorded, indent=1) + '\n'
        for path in _places(self._folder):
            staging = path.with_name(f'{path.name}.{os.getpid()}')
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                staging.write_text(text, encoding='utf-8')
                staging.replace(path)
                return
            except OSError:
                continue

    def _digest(self, name: str, stamp: Stamp) -> str:
        known = self._trusted.get(name)
        if known is not None and known['stamp'] == asdict(stamp):
            return str(known['sha256'])
        path = self._folder / name
        sha256 = file_sha256(path)
        if self._leaves_memory:
            drop(path)
        self._recorded.pop(name, None)
        if stamp.is_settled and Stamp.of(path) == stamp:
            self._recorded[name] = {'stamp': asdict(stamp), 'sha256': sha256}
        return sha256


def file_spec(path: Path, show: Callable[[int], None] = lambda done: None) -> FileSpec:
    """Returns the size and digest of a file as it is; `show` gets the number of bytes that were
    read since its last call.
    """
    return FileSpec(path.stat().st_size, file_sha256(path, show))


def file_sha256(path: Path, show: Callable[[int], None] = lambda done: None) -> str:
    """Returns the sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb', buffering=0) as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            show(len(chunk))
    return digest.hexdigest()


def _places(folder: Path) -> list[Path]:
    """Where the record may lie, the preferred place first."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    try:
        return [folder / RECORD, user_cache('digests') / f'{name}.json']
    except CacheUnusable:
        return [folder / RECORD]


def _read(folder: Path) -> dict[str, Any]:
    """Returns the record of a folder; an empty one where there is none, or it is damaged."""
    for path in _places(folder):
        try:
            if path.stat().st_size <= MAX_RECORD_BYTES:
                found = json.loads(path.read_text(encoding='utf-8'))
                return {
                    name: {'stamp': dict(entry['stamp']), 'sha256': str(entry['sha256'])}
                    for name, entry in found.items()
                }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return {}
