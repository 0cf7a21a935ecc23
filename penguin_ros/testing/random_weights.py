# SPDX-License-Identifier: Apache-2.0
"""Random weights of such a spread that the text depends on the prompt and does not end at once.

They are made by canonical name and shape; writing them to files is the business of
`random_checkpoint.py`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tensor_names import EMBEDDING, HEAD, expected_shapes

EMBEDDING_SCALE = 0.3
MUTED_SCALE = 0.005
"""Spread of the rows of words, and of the rows of all other tokens, whose logits stay near zero so
that they are hardly ever chosen.
"""

PIECE_ELEMENTS = 8 * 1024 * 1024

LLM_GAIN, ENCODER_GAIN, OUTPUT_GAIN = 2.4, 1.0, 9.0
"""Spread of a matrix product's output for an input of spread 1. The last one is for what the LLM's
layers add to the residual: far more than its embeddings, or each token would predict itself.
"""


class RandomWeights:
    """The tensors of a checkpoint of `shape`.

    A tensor depends on `seed` and its name only. `words` are the token ids that the text consists
    of.
    """

    def __init__(self, seed: int, shape: CheckpointShape, words: Sequence[int]) -> None:
        self._seed = seed
        self._shapes = expected_shapes(shape)
        self._is_tied = shape.is_tied
        self._words = list(words)

    def names(self) -> list[str]:
        """Returns the canonical names of all tensors, the head included."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor."""
        return self._shapes[name]

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Returns the values of a tensor in its canonical shape."""
        return np.concatenate(list(self.pieces(name)))

    def pieces(self, name: str) -> Iterator[NDArray[np.float32]]:
        """Yields the same values some rows at a time, so that no large tensor is held in memory."""
        name = EMBEDDING if name == HEAD and self._is_tied else name
        shape = self._shapes[name]
        random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        step = max(1, PIECE_ELEMENTS // math.prod(shape[1:]))
        for first in range(0, shape[0], step):
            rows = range(first, min(first + step, shape[0]))
            yield self._scaled(
                name, random.standard_normal((len(rows), *shape[1:]), np.float32), rows
            )

    def _scaled(self, name: str, values: NDArray[np.float32], rows: range) -> NDArray[np.float32]:
        """Scales `values` of spread 1, which become `rows` of the tensor."""
        if name in (EMBEDDING, HEAD):
            scale = np.full((len(rows), 1), MUTED_SCALE, np.float32)
            scale[[word - rows.start for word in self._words if word in rows]] = EMBEDDING_SCALE
            return values * scale
        if 'norm' in name:
            mean = (
                2.4 if name.startswith('llm.') and ('q_norm' in name or 'k_norm' in name) else 1.0
            )
            return mean * (1 + values * np.float32(0.18))
        if name.endswith('.bias'):
            return values * np.float32(0.2)
        return values * np.float32(_gain(name) / np.sqrt(values.shape[1]))


def _gain(name: str) -> float:
    if name.startswith('encoder.'):
        return ENCODER_GAIN
    return OUTPUT_GAIN if 'o_proj' in name or 'down_proj' in name else LLM_GAIN
