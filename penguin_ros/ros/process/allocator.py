# SPDX-License-Identifier: Apache-2.0
"""Keeps glibc from returning the memory of every received image to the system.

By default large blocks are mapped anew and returned when freed; a raw 1080p image then costs
thousands of page faults, taken with the interpreter's lock held. `keep_freed_memory` is to be
called first in a process, before rclpy is imported.
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

# The numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Sets both thresholds of glibc's malloc; returns whether they took effect.

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
        return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)) and bool(
            mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
        )
    except (OSError, AttributeError, TypeError):
        return False
