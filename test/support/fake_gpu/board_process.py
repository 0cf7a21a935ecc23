# SPDX-License-Identifier: Apache-2.0
"""The program of a step of `penguin bench board` on a fake machine:

    python board_process.py PLANTED.json ORDER.json OUTCOME.json

PLANTED holds attributes of the fake GPU, those of its page cache under `page_cache`, and `version`
of TensorRT; '' leaves the machine without both. `ends` is the name of a step at which the process
kills itself, `hangs` of one at which it waits.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.fake_gpu.installed import Machine, use
from support.fake_gpu.memory import FakeGpu, PageCache
from support.fake_gpu.numpy_kernels import run_in_numpy

from penguin_ros.board.step_process import read_order, run_step


def machine_of(planted: dict[str, Any]) -> Machine:
    """Returns the machine with what is planted in it."""
    gpu = FakeGpu(planted.pop('total_bytes', 1 << 28))
    gpu.executor = run_in_numpy
    gpu.page_cache = PageCache(**planted.pop('page_cache', {}))
    version = planted.pop('version', '10.16.2')
    for name, value in planted.items():
        assert hasattr(gpu, name), name
        setattr(gpu, name, value)
    return Machine(version, gpu)


def count_reads(page_cache: PageCache) -> None:
    """Lets the fake's page cache see what this process reads with the calls of the system."""
    read, advise = os.read, os.posix_fadvise

    def counted(file: int, size: int) -> bytes:
        content = read(file, size)
        page_cache.note_read(os.fstat(file).st_ino, len(content))
        return content

    def advised(file: int, offset: int, length: int, advice: int) -> None:
        advise(file, offset, length, advice)
        if advice == os.POSIX_FADV_DONTNEED:
            page_cache.drop(os.fstat(file).st_ino)

    os.read, os.posix_fadvise = counted, advised


def main() -> None:
    """Plants, then runs the step."""
    planted = json.loads(Path(sys.argv[1]).read_text())
    order = read_order(Path(sys.argv[2]))
    if planted.pop('ends', '') == order.step:
        os.kill(os.getpid(), signal.SIGKILL)
    if planted.pop('hangs', '') == order.step:
        time.sleep(600)
    if planted.get('version') != '':
        machine = machine_of(planted)
        count_reads(machine.gpu.page_cache)
        use(machine)
    run_step(order, Path(sys.argv[3]))


if __name__ == '__main__':
    main()
