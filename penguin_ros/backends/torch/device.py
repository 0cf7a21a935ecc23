# SPDX-License-Identifier: Apache-2.0
"""The device and the number format that torch runs with, and the named errors that its exceptions
become. No network is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from penguin_ros.backends.base.backend import Result
from penguin_ros.errors import BackendError, BackendUnavailable, DeviceLost, OutOfMemory
from penguin_ros.installation import install_command

_MEMORY_WORDS = (
    'out of memory',
    "can't allocate memory",
    'not enough memory',
    'cannot allocate memory',
    'alloc_failed',
)
_LOST_WORDS = (
    'illegal memory access',
    'illegal instruction',
    'misaligned address',
    'invalid address space',
    'invalid program counter',
    'hardware stack error',
    'device-side assert',
    'unspecified launch failure',
    'launch timed out',
    'uncorrectable ecc',
    'context is destroyed',
    'gpu is lost',
    'fell off the bus',
    'cuda error: unknown error',
    'driver shutting down',
)
"""What CUDA says when everything that this process asks of the card from then on fails too; after a
laptop's suspend it is an unknown error.
"""
_TAKEN_WORDS = ('busy or unavailable', 'exclusive')

# Torch before 2.5 has it under torch.cuda only.
_OutOfMemoryError = getattr(torch, 'OutOfMemoryError', torch.cuda.OutOfMemoryError)


def choose_device(setting: str) -> torch.device:
    """Returns the device for `setting`, which is auto, cpu or cuda; BackendUnavailable when CUDA is
    asked for and absent.
    """
    if setting == 'cpu' or (setting == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    what = 'device cuda is not available'
    if not torch.version.cuda:
        again = install_command('torch', options=['--force-reinstall'])
        raise BackendUnavailable(
            what,
            f'torch {torch.__version__} is built without CUDA',
            f'For a torch with CUDA type: {again}; or set model.device to cpu',
        )
    why = cuda_fault()
    if 'too old' in why:
        raise BackendUnavailable(
            'the NVIDIA driver is too old for this torch',
            why,
            f'Bring a newer driver, or a torch for an older CUDA than {torch.version.cuda}; or set '
            'model.device to cpu',
        )
    raise BackendUnavailable(
        what,
        f'torch finds no CUDA device or driver ({why})' if why else 'torch finds no CUDA device',
        'Check nvidia-smi, or set model.device to cpu',
    )


def cuda_fault() -> str:
    """Returns why torch, which was built for CUDA, cannot use it here, in its words; '' when it
    does not tell.
    """
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().partition('\n')[0]
    return ''


def idle_card() -> str:
    """Returns why a card that is there cannot be used, where `auto` takes the CPU for that; '' when
    there is none or it can be used.
    """
    if not torch.version.cuda or torch.cuda.is_available():
        return ''
    fault = cuda_fault()
    return f'torch computes on the CPU: {fault}' if 'too old' in fault else ''


def choose_precision(setting: str, device: torch.device) -> str:
    """Returns the number format for `setting`, which is auto, float32, bfloat16 or float16: auto is
    bfloat16 on CUDA, float32 on a CPU.
    """
    if setting != 'auto':
        return setting
    return 'bfloat16' if device.type == 'cuda' else 'float32'


@contextmanager
def inference(what: str) -> Iterator[None]:
    """Runs a block without gradients; what torch raises in it leaves as BackendError, OutOfMemory,
    BackendUnavailable or DeviceLost that names `what`.
    """
    try:
        with torch.inference_mode():
            yield
    except (_OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(what, error) from error
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise _named(what, error) from error


def _named(what: str, error: Exception) -> BackendError:
    text = str(error).strip().partition('\n')[0]
    words = text.lower()
    if any(each in words for each in _LOST_WORDS):
        return DeviceLost(
            f'the GPU stopped while {what}',
            text,
            'Start this process again (the node ends by itself; respawn:=true of its launch file '
            'starts it); if it comes back, look at dmesg and nvidia-smi',
        )
    if any(each in words for each in _MEMORY_WORDS):
        return _out_of_memory(what, error)
    if any(each in words for each in _TAKEN_WORDS):
        return BackendUnavailable(
            'the GPU is taken by another process',
            f'{what}: {text}',
            'nvidia-smi names it; end it, set the compute mode to default (nvidia-smi -c 0), or '
            'set model.device to cpu',
        )
    if 'not implemented for' in text:
        return BackendError(
            f'{what} failed',
            f'this torch cannot compute it in this precision here ({text})',
            'Set model.precision to float32 or bfloat16',
        )
    return BackendError(f'{what} failed', text or type(error).__name__)


def _out_of_memory(what: str, error: BaseException) -> OutOfMemory:
    return OutOfMemory(
        f'memory ran out while {what}',
        str(error).strip().partition('\n')[0],
        'Lower model.max_length, model.kv_slots or the visual token budget, or use a smaller '
        'precision',
    )


def cuda_timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Runs `work`; returns its result and the seconds between its first and its last operation on
    the current stream, by the device's clock.
    """
    event: Any = torch.cuda.Event  # untyped in torch
    begin, end = event(enable_timing=True), event(enable_timing=True)
    begin.record()
    result = work()
    end.record()
    end.synchronize()
    return result, begin.elapsed_time(end) / 1e3


def copy_work(size: int, repeats: int) -> Callable[[], None]:
    """Returns a function that copies `size` bytes `repeats` times within the CUDA device's memory
    and waits for it, to measure how fast that is; BackendUnavailable without such a device.
    """
    device = choose_device('cuda')
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)
        torch.cuda.synchronize()

    return copy
