# SPDX-License-Identifier: Apache-2.0
"""Which of torch's attention kernels run on CUDA: any but cuDNN's.

cuDNN makes a plan for every length that it has not seen, which takes several times as long as the
pass itself, and a cache has a new length at every token. torch prefers it on some data-centre
cards.

The choice is a state of the whole process, in every version of torch. A context manager around each
pass would change it under the feet of other threads, and two threads that enter and leave in turns
would leave it wrong. So cuDNN's attention is switched off once, when the first session on a card
opens, and is put back when the last one closes; other code of the process computes the same in
between, by the flash or memory-efficient kernel.
"""

from __future__ import annotations

import threading

import torch


class CudnnAttention:
    """Holds cuDNN's attention off while at least one session has asked for that. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what is below, and the state of torch
        self._sessions = 0
        self._was_on = False

    def keep_off(self) -> None:
        """Switches it off, or does nothing where this torch has none: it came with 2.3, with the
        function that switches it.
        """
        with self._lock:
            self._sessions += 1
            if self._sessions == 1:
                self._was_on = _is_on()
                _switch(False)

    def give_back(self) -> None:
        """Takes one `keep_off` back."""
        with self._lock:
            self._sessions -= 1
            if not self._sessions:
                _switch(self._was_on)


CUDNN_ATTENTION = CudnnAttention()


def _is_on() -> bool:
    """Whether cuDNN's attention may be chosen; True where torch does not tell, which is its
    default.
    """
    is_on = getattr(torch.backends.cuda, 'cudnn_sdp_enabled', None)
    return True if is_on is None else bool(is_on())


def _switch(is_on: bool) -> None:
    switch = getattr(torch.backends.cuda, 'enable_cudnn_sdp', None)
    if switch is not None:
        switch(is_on)
