# SPDX-License-Identifier: Apache-2.0
"""How the pixels of a frame come to the device: as bytes through pinned memory where they are bytes
and the device is another, normalised there by the same table that the host uses, so the numbers are
the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from penguin_ros.model_inputs import FramePatches


class LevelTable:
    """The normalised value of each level by channel, on the device, for patches of `patch_values`
    levels that lie as (channel, y, x).
    """

    def __init__(self, patch_values: int, device: torch.device) -> None:
        self._values = torch.zeros(3 * 256, device=device)
        self._first = torch.arange(3, device=device).repeat_interleave(patch_values // 3) * 256

    def load(self, table: NDArray[np.float32]) -> None:
        """Writes a table (3, 256)."""
        self._values.copy_(torch.from_numpy(np.array(table).reshape(-1)))

    def normalised(self, levels: torch.Tensor) -> torch.Tensor:
        """Returns float32 of the shape of `levels` (patches, patch_values) uint8."""
        return self._values[levels.to(torch.int64) + self._first]


def on_host(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Returns a copy of `values` on the host: in pinned memory, from which it moves faster and
    beside other work, where `device` is a GPU.
    """
    tensor = torch.from_numpy(np.array(values))
    return tensor.pin_memory() if device.type == 'cuda' else tensor


def on_device(frame: FramePatches, like: torch.Tensor) -> torch.Tensor:
    """Returns the pixels of a frame (patches, patch_values) where `like` is, in its type."""
    if like.device.type == 'cpu' or frame.levels is None:
        pixels = on_host(frame.pixels, like.device).to(like.device, non_blocking=True)
    else:
        table = LevelTable(frame.values.shape[1], like.device)
        table.load(frame.levels.table)
        levels = on_host(frame.values, like.device).to(like.device, non_blocking=True)
        pixels = table.normalised(levels)
    return pixels.to(like.dtype)
