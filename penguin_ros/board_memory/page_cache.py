# SPDX-License-Identifier: Apache-2.0
"""Files leave the page cache once they have been read.

On a Jetson the page cache counts as available memory, but the GPU's allocator does not get all of
it: others report allocations of a gigabyte that fail beside five gigabytes of cached files, and
succeed once these are dropped. The kernel drops only what is on the disk and mapped by nobody.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path


def drop(path: Path) -> None:
    """Takes a file out of the page cache, after writing to the disk what is not there yet. Nothing
    happens where the file or the call is not to be had: it only saves memory.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return
    finally:
        os.close(descriptor)


def drop_below(folder: Path) -> None:
    """Takes all files below a folder out of the page cache."""
    for path in folder.rglob('*'):
        if path.is_file():
            drop(path)


def forget_pages(content: mmap.mmap) -> None:
    """Gives up the pages of a read-only map, so that the file can be dropped. They come back when
    they are read.
    """
    content.madvise(mmap.MADV_DONTNEED)
