# SPDX-License-Identifier: Apache-2.0
"""What this machine is, how fast its memory is read, and what a process takes of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

READ_BYTES = 1 << 29
"""The size of the memory that is read: far more than any cache of a processor holds."""

COPY_BYTES = 1 << 28
REPEATS = 5

FEATURES = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'asimddp', 'i8mm')
"""The features of a processor that matter to products of matrices."""

MEMORY, STATUS = Path('/proc/meminfo'), Path('/proc/self/status')
TICKS_PER_S = os.sysconf('SC_CLK_TCK')


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The seconds of the fastest of `repeats` runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def read_bandwidth(threads: int, size: int = READ_BYTES) -> float:
    """The bytes per second that `threads` threads together read from `size` bytes of memory."""
    parts = [np.ones(size // threads // 4, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = best(lambda: list(pool.map(np.max, parts)))
    return sum(part.nbytes for part in parts) / seconds


def machine(threads: int) -> str:
    """The name of the board or processor, its features that matter here, and the number of
    threads.
    """
    facts = _facts(Path('/proc/cpuinfo'))
    name = _board() or facts.get('model name', platform.machine())
    present = facts.get('flags', facts.get('Features', '')).split()
    features = ', '.join(feature for feature in FEATURES if feature in present)
    return f'{name} ({features}), {threads} threads'


def available_bytes() -> int:
    """The memory that new programs can have without swapping; 0 where the system does not say."""
    return _kibibytes(MEMORY, 'MemAvailable')


def resident_bytes() -> tuple[int, int]:
    """The resident memory of this process now, and its highest so far."""
    return _kibibytes(STATUS, 'VmRSS'), _kibibytes(STATUS, 'VmHWM')


def process_usage(pid: int) -> tuple[float, int]:
    """The processor seconds of all threads of a process so far, and its resident bytes."""
    stat = Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()
    pages = int(Path(f'/proc/{pid}/statm').read_text(encoding='utf-8').split()[1])
    return (int(stat[11]) + int(stat[12])) / TICKS_PER_S, pages * os.sysconf('SC_PAGE_SIZE')


def device_copy_rate() -> tuple[float | None, str]:
    """The bytes per second of copies within the memory of the GPU, read and written together, and
    how that was measured; None and the reason where no library here can do it.
    """
    reasons = []
    for measure in (_copy_with_cuda_bindings, _copy_with_torch):
        try:
            return measure(COPY_BYTES)
        except Exception as error:  # a library that is absent, or any failure of its own
            reasons.append(f'{type(error).__name__}: {error}'.partition('\n')[0][:120])
    return None, 'not measured: ' + '; '.join(reasons)


def _copy_with_cuda_bindings(size: int) -> tuple[float, str]:
    from penguin_ros.backends.cuda.device import CudaDevice

    device = CudaDevice()
    try:
        size = min(size, device.memory()[0] // 8)
        source = device.allocate(size)
        target = device.allocate(size)

        def copy() -> None:
            for _ in range(REPEATS):
                device.copy(target, source, size)
            device.synchronize()

        return 2 * size * REPEATS / best(copy), _copied(size, 'cuda-bindings')
    finally:
        device.close()


def _copy_with_torch(size: int) -> tuple[float, str]:
    from penguin_ros.backends.torch.device import copy_work

    return 2 * size * REPEATS / best(copy_work(size, REPEATS)), _copied(size, 'torch')


def _copied(size: int, library: str) -> str:
    return (
        f"{size / 1e6:.0f} MB copied within the GPU's memory {REPEATS} times ({library}), bytes "
        f'read and written together, best of {REPEATS}'
    )


def _board() -> str:
    """The name of a board that has a device tree, such as a Jetson; '' elsewhere."""
    try:
        return Path('/proc/device-tree/model').read_text(encoding='utf-8').strip('\0 \n')
    except OSError:
        return ''


def _kibibytes(path: Path, name: str) -> int:
    """The bytes of a line `name: N kB` in a file of the kernel; 0 when there is no such line."""
    words = _facts(path).get(name, '').split()
    return int(words[0]) * 1024 if words else 0


def _facts(path: Path) -> dict[str, str]:
    """The lines `name: value` of a file of the kernel; the last one of equal names counts."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError:
        return {}
    return {
        name.strip(): value.strip()
        for name, colon, value in (line.partition(':') for line in lines)
        if colon
    }
