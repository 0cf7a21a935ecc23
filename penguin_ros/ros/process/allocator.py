# SPDX-License-Identifier: Apache-2.0
"""Keeps glibc from returning the memory of every received picture to the system. Knows nothing of
ROS.

By default large blocks are mapped anew and returned when freed; a raw 1080p picture then costs
thousands of page faults, taken with the interpreter's lock held. To be called first in a process,
before rclpy is imported.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

SWITCH = 'PENGUIN_MALLOC'
MMAP_THRESHOLD_BYTES = (
    32 * 1024 * 1024
)  # the largest that glibc takes; larger blocks are still mapped one by one
TRIM_THRESHOLD_BYTES = 256 * 1024 * 1024

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Sets both thresholds of glibc's malloc; True when they took effect.

    Does nothing elsewhere than on Linux with glibc, when the environment has PENGUIN_MALLOC=off, or
    when it sets glibc's thresholds itself. Never raises.
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
