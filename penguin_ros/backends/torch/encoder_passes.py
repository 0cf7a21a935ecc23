# SPDX-License-Identifier: Apache-2.0
"""The encoder's passes with fixed shapes and addresses: a whole frame at once, one pass for each
grid of patches, so that a recorded one can be replayed for the next frame of that grid.
"""

from __future__ import annotations

import numpy as np
import torch

from penguin_ros.backends.torch.encoder import Encoded, encode_whole, grid_rope
from penguin_ros.backends.torch.graphs import PassCache
from penguin_ros.backends.torch.pixels import LevelTable, on_host
from penguin_ros.backends.torch.weights import EncoderWeights
from penguin_ros.model_inputs import FramePatches


class EncoderPass:
    """Encodes frames of one grid. The pixels lie in memory as `frame` has them: levels of a byte,
    which the device normalises, or float32.
    """

    def __init__(self, weights: EncoderWeights, frame: FramePatches) -> None:
        like = weights.patches[0]
        values = frame.values
        self._weights = weights
        self._merge_size = frame.merge_size
        self._rope = grid_rope(frame, weights.stack.shape, like)
        self._pixels = torch.zeros(
            values.shape,
            dtype=torch.uint8 if values.dtype == np.uint8 else torch.float32,
            device=like.device,
        )
        self._table = LevelTable(values.shape[1], like.device) if frame.levels else None
        tokens = frame.tokens
        self.encoded = like.new_zeros((tokens, weights.projector[0][0].shape[1]))
        self.projected = like.new_zeros((tokens, len(weights.projector[1][0])))

    def load(self, frame: FramePatches) -> None:
        """Writes the pixels of a frame of this grid."""
        self._pixels.copy_(on_host(frame.values, self._pixels.device), non_blocking=True)
        if self._table is not None and frame.levels is not None:
            self._table.load(frame.levels.table)

    def work(self) -> None:
        """See `graphs.Pass`."""
        pixels = self._pixels if self._table is None else self._table.normalised(self._pixels)
        encoded, projected = encode_whole(self._weights, pixels, self._rope, self._merge_size)
        self.encoded.copy_(encoded)
        self.projected.copy_(projected)


class EncoderPasses:
    """Encodes frames by passes of `graphs`."""

    def __init__(self, weights: EncoderWeights, graphs: PassCache) -> None:
        self._weights = weights
        self._graphs = graphs

    def encode(self, frame: FramePatches) -> Encoded:
        """Encodes a whole frame; the tensors belong to the caller."""
        key = ('encode', frame.rows, frame.columns, frame.merge_size, frame.levels is not None)
        made = self._graphs.run(
            key, lambda: EncoderPass(self._weights, frame), lambda made: made.load(frame)
        )
        return made.encoded.clone(), made.projected.clone()
