# SPDX-License-Identifier: Apache-2.0
"""Whether glibc keeps freed memory, which is fast, or returns it to the system, which is lean.

By default large blocks are mapped anew and returned when freed, until a program has freed one of
them: from then on blocks up to that size are kept. A raw 1080p image then first costs thousands of
page faults, taken with the interpreter's lock held, and a memory's searches leave behind what they
took. One of the two functions here is to be called first in a process, before rclpy and numpy are
imported.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

SWITCH = 'PENGUIN_MALLOC'
# The largest that glibc takes; larger blocks are still mapped one by one.
MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
TRIM_THRESHOLD_BYTES = 256 * 1024 * 1024
# What a search of a million entries takes again and again stays.
LEAN_THRESHOLD_BYTES = 16 * 1024 * 1024

# The numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Keeps blocks as large as images, for processes that receive many of them; returns whether
    that took effect.
    """
    return _set_thresholds(MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES)


def return_freed_memory() -> bool:
    """Returns large blocks when they are freed, for processes that work seldom and stay for weeks,
    and lets numpy's products use one thread, each of which keeps buffers of 8 MB. Returns whether
    the first took effect.
    """
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    return _set_thresholds(LEAN_THRESHOLD_BYTES, LEAN_THRESHOLD_BYTES)


def _set_thresholds(mmap_bytes: int, trim_bytes: int) -> bool:
    """Sets both thresholds of glibc's malloc.

    It does nothing where there is no Linux with glibc, when the environment has PENGUIN_MALLOC=off,
    or when it sets glibc's thresholds itself. It never raises.
    """
    if os.environ.get(SWITCH, '').lower() in ('off', '0', 'false', 'no'):
        return False
    if 'MALLOC_MMAP_THRESHOLD_' in os.environ or 'MALLOC_TRIM_THRESHOLD_' in os.environ:
        return False
    if sys.platform != 'linux' or platform.libc_ver()[0] != 'glibc':
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        # Only both together help, so one that fails makes the other pointless.
        return bool(mallopt(_M_MMAP_THRESHOLD, mmap_bytes)) and bool(
            mallopt(_M_TRIM_THRESHOLD, trim_bytes)
        )
    except (OSError, AttributeError, TypeError):
        return False
