# SPDX-License-Identifier: Apache-2.0
"""What this machine is and how fast its memory is read, measured. Knows no model."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

READ_BYTES = 1 << 29
"""Far more than any cache holds."""

COPY_BYTES = 1 << 28
REPEATS = 5

FEATURES = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'asimddp', 'i8mm')
"""Of a processor, as far as they matter to products of matrices."""

MEMORY, STATUS = Path('/proc/meminfo'), Path('/proc/self/status')


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of the fastest of some runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def read_bandwidth(threads: int, size: int = READ_BYTES) -> float:
    """Bytes per second that `threads` threads read together from `size` bytes of memory."""
    parts = [np.ones(size // threads // 4, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = best(lambda: list(pool.map(np.max, parts)))
    return sum(part.nbytes for part in parts) / seconds


def machine(threads: int) -> str:
    """Name of the board or processor, features of it that matter here, and how many threads."""
    facts = _facts(Path('/proc/cpuinfo'))
    present = facts.get('flags', facts.get('Features', '')).split()
    features = ', '.join(name for name in FEATURES if name in present)
    return (
        f'{_board() or facts.get("model name", platform.machine())} ({features}), {threads} threads'
    )


def available_bytes() -> int:
    """Memory that new programs can have without swapping; 0 where the system does not say."""
    return _kibibytes(MEMORY, 'MemAvailable')


def resident_bytes() -> tuple[int, int]:
    """Memory of this process now, and at most so far."""
    return _kibibytes(STATUS, 'VmRSS'), _kibibytes(STATUS, 'VmHWM')


def device_copy_rate() -> tuple[float | None, str]:
    """Bytes per second, read and written together, of copies within the memory of the GPU, and how
    that was measured; None and the reason where no library here can do it.
    """
    reasons = []
    for measure in (_copy_with_cuda_bindings, _copy_with_torch):
        try:
            return measure(COPY_BYTES)
        except Exception as error:  # a library that is absent, or any failure of its own
            reasons.append(f'{type(error).__name__}: {error}'.partition('\n')[0][:120])
    return None, 'not measured: ' + '; '.join(reasons)


def _copy_with_cuda_bindings(size: int) -> tuple[float, str]:
    from penguin_ros.backends.tensorrt.device import CudaDevice

    device = CudaDevice()
    try:
        size = min(size, device.memory()[0] // 8)
        source, target = device.allocate(size), device.allocate(size)

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
        f"{size / 1e6:.0f} MB copied within the GPU's memory {REPEATS} times ({library}), bytes read and written together, "
        f'best of {REPEATS}'
    )


def _board() -> str:
    """What a board with a device tree, a Jetson for one, calls itself."""
    try:
        return Path('/proc/device-tree/model').read_text(encoding='utf-8').strip('\0 \n')
    except OSError:
        return ''


def _kibibytes(path: Path, name: str) -> int:
    """A line `name: N kB` of a file of the kernel, in bytes."""
    words = _facts(path).get(name, '').split()
    return int(words[0]) * 1024 if words else 0


def _facts(path: Path) -> dict[str, str]:
    """Lines `name: value`; of equal names the last."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError:
        return {}
    return {
        name.strip(): value.strip()
        for name, colon, value in (line.partition(':') for line in lines)
        if colon
    }
