# SPDX-License-Identifier: Apache-2.0
"""Why the system refused to read or write something, and what to do about it, in words."""

from __future__ import annotations

import errno
import os
import shlex


def system_reason(error: OSError) -> tuple[str, str]:
    """Returns why the system refused, with the file, and what to do about it."""
    name = error.filename if error.filename is not None else ''
    where = f'{os.fsdecode(name)}: ' if isinstance(name, (str, bytes)) and name else ''
    why = f'{where}{error.strerror or error}'
    if error.errno in (errno.EACCES, errno.EPERM):
        return _permission(error, why)
    if 'usable temporary directory' in str(error):
        return (
            'no folder for temporary files can be written: TMPDIR, /tmp, /var/tmp and this folder '
            'are full, missing or forbidden',
            'Free space in /tmp, or type: export TMPDIR=FOLDER',
        )
    if error.errno in _REMEDIES:
        return why, _REMEDIES[error.errno]
    return why, 'Check the file, and the disk it lies on'


def _permission(error: OSError, why: str) -> tuple[str, str]:
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ''
    user = f'this user (number {os.getuid()})'
    look = f'See who may: ls -ld {shlex.quote(name)}' if name else 'See who may: ls -ld FILE'
    return f'{why}: {user} lacks the permission', look


_REMEDIES = {
    errno.ENOSPC: 'Free space on that disk, or name a place on another',
    errno.EDQUOT: 'Free space within the quota of this user, or name a place on another disk',
    errno.EROFS: 'Name a place on a file system that is mounted for writing',
    errno.ENOENT: 'Check the path',
    errno.ENOTDIR: 'Check the path: a file stands where a folder should',
    errno.EISDIR: 'Name a file, not a folder',
    errno.ENAMETOOLONG: 'Take a shorter name',
    errno.ELOOP: 'Check the path: its links lead in a circle',
    errno.EMFILE: 'Type: ulimit -n 4096, then try again',
    errno.EBUSY: 'Name another place: this one is in use, or a file system is mounted there',
    errno.EIO: 'The disk reports an error: see dmesg, and copy the file while it can be read',
    errno.ESTALE: 'The network folder is gone: mount it again',
}
