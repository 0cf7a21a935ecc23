# SPDX-License-Identifier: Apache-2.0
"""What the kernel has of a file in its page cache, asked of mincore."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from penguin_ros.board_memory.page_cache import drop

PROT_READ, MAP_SHARED = 1, 1
FAILED = ctypes.c_void_p(-1).value


def cached_bytes(path: Path) -> int:
    """Returns the bytes of a file's pages that are in memory."""
    size = path.stat().st_size
    if size == 0:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_long,
    )
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open('rb') as file:
        address = libc.mmap(None, size, PROT_READ, MAP_SHARED, file.fileno(), 0)
    assert address != FAILED, path
    try:
        code = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages)
        assert code == 0, path
    finally:
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


def can_drop(folder: Path) -> bool:
    """Returns whether files of this folder leave the page cache; those of a tmpfs do not."""
    probe = folder / 'probe'
    probe.write_bytes(bytes(1 << 16))
    drop(probe)
    is_dropped = cached_bytes(probe) == 0
    probe.unlink()
    return is_dropped
