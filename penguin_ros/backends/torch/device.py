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
from penguin_ros.errors import BackendError, BackendUnavailable, OutOfMemory
from penguin_ros.installation import install_command

_MEMORY_WORDS = (
    'out of memory',
    "can't allocate memory",
    'not enough memory',
    'cannot allocate memory',
)


def choose_device(setting: str) -> torch.device:
    """Returns the device for `setting`, which is auto, cpu or cuda; BackendUnavailable when CUDA is
    asked for and absent.
    """
    if setting == 'cpu' or (setting == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            'torch finds no CUDA device or driver'
            if built
            else f'torch {torch.__version__} is built without CUDA'
        )
        again = install_command('torch', options=['--force-reinstall'])
        raise BackendUnavailable(
            'device cuda is not available',
            why,
            'Check nvidia-smi, or set model.device to cpu'
            if built
            else f'For a torch with CUDA type: {again}; or set model.device to cpu',
        )
    return torch.device('cuda', torch.cuda.current_device())


def choose_precision(setting: str, device: torch.device) -> str:
    """Returns the number format for `setting`, which is auto, float32, bfloat16 or float16: auto is
    bfloat16 on CUDA, float32 on a CPU.
    """
    if setting != 'auto':
        return setting
    return 'bfloat16' if device.type == 'cuda' else 'float32'


@contextmanager
def inference(what: str) -> Iterator[None]:
    """Runs a block without gradients; what torch raises in it leaves as BackendError or OutOfMemory
    that names `what`.
    """
    try:
        with torch.inference_mode():
            yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(what, error) from error
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise _named(what, error) from error


def _named(what: str, error: Exception) -> BackendError:
    text = str(error).strip().partition('\n')[0]
    if any(words in text.lower() for words in _MEMORY_WORDS):
        return _out_of_memory(what, error)
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
