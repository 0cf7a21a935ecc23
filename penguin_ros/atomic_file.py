# SPDX-License-Identifier: Apache-2.0
"""A file that appears whole or not at all, on the thread that writes it.

It is written under a temporary name beside its place and renamed at the end, so that what was there
before stays until then, and after a failure. Links keep leading where they lead. Where a rename is
not possible (a file that is mounted by itself, a folder that may not be written) the content is
copied over the old one at the end. Devices and pipes are written directly.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from penguin_ros.errors import SystemRefusal, system_refusal

NO_RENAME = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS)
TEMPORARY = '.part'


class OutputFile:
    """What a file is written through; SystemRefusal, with the file's name, when that fails."""

    def __init__(self, path: Path, stream: IO[Any]) -> None:
        self._path = path
        self._stream = stream

    def write(self, content: str | bytes) -> None:
        """Writes text or bytes, at once."""
        with _named(self._path):
            self._stream.write(content)
            self._stream.flush()


@contextmanager
def atomic_file(path: Path, *, is_text: bool = True) -> Iterator[OutputFile]:
    """Yields what the file is written through; it takes the place of `path` when the block ends
    without an exception. SystemRefusal when the system does not let it.
    """
    mode, encoding = ('w', 'utf-8') if is_text else ('wb', None)
    if _is_special(path):
        with _named(path):
            stream = path.open(mode, encoding=encoding)
        try:
            yield OutputFile(path, stream)
        finally:
            with suppress(OSError):  # told when it was written
                stream.close()
        return
    with _named(path):
        target = path.resolve()
        descriptor, name = _temporary(target)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, mode, encoding=encoding) as draft_stream:
            yield OutputFile(path, draft_stream)
        with _named(path):
            _put(draft, target)
    finally:
        with suppress(OSError):
            draft.unlink()


def check_output(path: Path, source: Path | None = None, option: str = 'another name') -> None:
    """Raises SystemRefusal when `path` cannot be written, or when it is the `source` itself; to be
    called before the work whose result it gets. `option` says how another place is given.
    """
    fix = f'Give another place with {option}'
    try:
        if path.is_dir():
            raise SystemRefusal(f'{path} cannot be written', 'it is a folder', fix)
        parent = path.absolute().parent if path.exists() else path.resolve().parent
        if not parent.is_dir():
            why = f'there is no folder {parent}'
            raise SystemRefusal(f'{path} cannot be written', why, f'Type: mkdir -p {parent}')
        if source is not None and path.exists() and path.samefile(source):
            raise SystemRefusal(f'{path} cannot be written', 'it is the input itself', fix)
        is_allowed = os.access(path, os.W_OK) if path.exists() else os.access(parent, os.W_OK)
    except OSError as error:
        raise system_refusal(error, f'{path} cannot be written') from error
    if not is_allowed:
        number = errno.EROFS if _is_read_only(parent) else errno.EACCES
        refusal = OSError(number, os.strerror(number), str(path if path.exists() else parent))
        raise system_refusal(refusal, f'{path} cannot be written')


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Gives what the system refuses within the block the name of the file meant."""
    try:
        yield
    except BrokenPipeError:  # whoever read a pipe went away, which is no failure
        raise
    except OSError as error:
        raise system_refusal(error, f'{path} cannot be written') from error


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode)


def _temporary(target: Path) -> tuple[int, str]:
    """Makes a file beside the target, or among the temporary ones where its folder may not be
    written although the target may.
    """
    try:
        return tempfile.mkstemp(
            suffix=TEMPORARY, prefix=f'.{target.name}.'[:200], dir=target.parent
        )
    except OSError as error:
        if error.errno in NO_RENAME and os.access(target, os.W_OK):
            return tempfile.mkstemp(suffix=TEMPORARY)
        raise


def _put(draft: Path, target: Path) -> None:
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~umask()
    draft.chmod(mode)
    try:
        draft.replace(target)
    except OSError as error:
        if error.errno not in NO_RENAME or not target.exists():
            raise
        shutil.copyfile(draft, target)


def umask() -> int:
    """Returns the bits that new files of this process lack; the system tells them in no other way
    that any thread may use.
    """
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('Umask:'):
            return int(line.split()[1], 8)
    return 0o022


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file; SystemRefusal when that fails."""
    with atomic_file(path) as stream:
        stream.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file; SystemRefusal when that fails."""
    with atomic_file(path, is_text=False) as stream:
        stream.write(content)
