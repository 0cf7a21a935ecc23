# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of any shape with random weights in memory: what a backend reads of a checkpoint,
without files.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.testing.random_checkpoint import SHAPES
from penguin_ros.testing.random_weights import RandomWeights

TINY: CheckpointShape = SHAPES['tiny']


class MemoryCheckpoint:
    """Takes the place of a Checkpoint. `tensors` is the object itself; `dtype` is F32, F16 or
    BF16.
    """

    name, digest = 'memory', 'f' * 64

    def __init__(self, dtype: str = 'F32', seed: int = 0, **changes: Any) -> None:
        self.shape, self.dtype, self.tensors = dataclasses.replace(TINY, **changes), dtype, self
        self._weights = RandomWeights(seed, self.shape, range(self.shape.vocabulary_size))

    def names(self) -> list[str]:
        """Returns the canonical names."""
        return self._weights.names()

    def read_raw(self, name: str) -> tuple[str, np.ndarray]:
        """Returns read-only values, as TensorReader does."""
        _, values = narrowed(self.dtype, self._weights.tensor(name))
        values.flags.writeable = False
        return self.dtype, values
