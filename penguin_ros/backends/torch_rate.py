# SPDX-License-Identifier: Apache-2.0
"""How fast a GPU moves bytes within its own memory, as torch sees it. Knows no network."""
from __future__ import annotations

from collections.abc import Callable

import torch

from penguin_ros.backends.torch_device import choose_device


def copy_work(size: int, repeats: int) -> Callable[[], None]:
    """Copies `size` bytes `repeats` times on the CUDA device and waits for it; BackendUnavailable without one."""
    device = choose_device('cuda')
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)
        torch.cuda.synchronize()

    return copy
