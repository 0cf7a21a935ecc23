# SPDX-License-Identifier: Apache-2.0
"""The named errors that CUDA's error codes become. The functions of CUDA's runtime and those of its
driver count alike. Importing this file needs no CUDA.
"""

from __future__ import annotations

from penguin_ros.errors import BackendError, BackendUnavailable, DeviceLost, OutOfMemory

OUT_OF_MEMORY = 2
NO_MODULE_FOR_GPU, INVALID_PTX, PTX_TOO_NEW, NO_COMPILER = 209, 218, 222, 221
"""What loading a kernel ends with: it is for another GPU; the compiler in the driver does not read
its text; it was made by a newer CUDA than the driver's; the driver brings no compiler.
"""

TAKEN = 46
LOST = frozenset((214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999))
"""After these, all that this process asks of the GPU fails: memory that cannot be corrected, an
address, an instruction or a stack that is none, a kernel that ran too long or failed, a context
that is gone, and what CUDA calls unknown, as after a suspend.
"""


def fault(name: str, code: int, words: str) -> BackendError:
    """Returns the error for the function `name`, which returned `code`; `words` are CUDA's."""
    if code in LOST:
        return DeviceLost(
            f'the GPU stopped: {name} failed',
            words,
            'Start this process again (the node ends by itself; respawn:=true of its launch file '
            'starts it); if it comes back, look at dmesg',
        )
    if code == TAKEN:
        return BackendUnavailable(
            'the GPU is taken by another process',
            f'{name}: {words}',
            'nvidia-smi names it; end it, or set the compute mode to default (nvidia-smi -c 0)',
        )
    if code == OUT_OF_MEMORY:
        return OutOfMemory(
            f'the GPU had no memory for {name}',
            words,
            'Lower model.max_length or model.kv_slots, or close other programs',
        )
    return BackendError(
        f'{name} failed', words, 'If it repeats, restart; the log of the driver is in dmesg'
    )
