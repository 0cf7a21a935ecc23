# SPDX-License-Identifier: Apache-2.0
"""The allocator setting, seen in a process of its own: page faults of blocks as large as images."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

MEASURE = """
import resource, sys
from penguin_ros.ros.process.allocator import keep_freed_memory
is_set = keep_freed_memory()
import numpy as np
def images():  # several at once: more than what glibc's own, growing threshold would keep
    return [np.ones(6_000_000, np.uint8) for _ in range(4)]
images()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    images()
print(is_set, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
IS_GLIBC = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'


def measure(program=MEASURE, **environment):
    """Returns whether the setting took effect, and what the program counts; MEASURE the page faults
    of 20 blocks of 6 MB.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')
    }
    process = subprocess.run(
        [sys.executable, '-c', program],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    is_set, faults = process.stdout.split()
    return is_set == 'True', int(faults)


@pytest.mark.skipif(not IS_GLIBC, reason='the setting is for Linux with glibc')
def test_blocks_as_large_as_images_are_kept():
    is_set, faults = measure()
    assert is_set and faults < 1500  # one block has 1465 pages


@pytest.mark.parametrize(
    'environment', [{'PENGUIN_MALLOC': 'off'}, {'MALLOC_MMAP_THRESHOLD_': '131072'}]
)
def test_the_environment_can_leave_the_allocator_alone(environment):
    is_set, faults = measure(**environment)
    assert not is_set and (not IS_GLIBC or faults > 5000)


SEARCHES = """
import resource
from penguin_ros.ros.process.allocator import return_freed_memory
is_set = return_freed_memory()
import numpy as np
def pages():
    return int(open('/proc/self/statm').read().split()[1])
np.ones(30_000_000, np.uint8)  # one that is freed lets glibc keep others of that size by itself
before = pages()
some = [np.ones(20_000_000, np.uint8) for _ in range(4)]
kept = np.ones(100, np.uint8)  # above the others, where a heap cannot shrink
del some
print(is_set, pages() - before)
"""


@pytest.mark.skipif(not IS_GLIBC, reason='the setting is for Linux with glibc')
def test_what_was_taken_once_goes_back_to_the_system():
    is_set, pages = measure(SEARCHES)
    assert is_set and pages < 500  # four blocks have 19,532
