# SPDX-License-Identifier: Apache-2.0
"""A whole Penguin-VL on one device: it turns frames into features and chunks into logits.

Every method runs without gradients, and what torch raises leaves as a named error.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.torch import decoder
from penguin_ros.backends.torch.attention import CUDNN_ATTENTION
from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.device import choose_device, choose_precision, inference
from penguin_ros.backends.torch.encoder import Encoded, encode_frame
from penguin_ros.backends.torch.layers import position_table
from penguin_ros.backends.torch.weights import WeightLoader
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

FeatureRows = tuple[int, torch.Tensor]
"""The offset in a chunk, and the rows (count, hidden_size) of visual features that stand there."""


class TorchSession:
    """The weights, and the cache with `max_length` positions per slot."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, max_length: int) -> None:
        with inference('loading the model'):
            device = choose_device(config.device)
            self.device = device.type
            self.precision = choose_precision(config.precision, device)
            if config.threads:
                torch.set_num_threads(config.threads)
            loader = WeightLoader(checkpoint, device, getattr(torch, self.precision))
            self._encoder = loader.encoder()
            self._decoder = loader.decoder()
        with inference(f'allocating KV slots of {max_length} positions'):
            self._cache = KeyValueCache(
                checkpoint.shape.llm, config, max_length, self._decoder.embedding
            )
            self._positions = position_table(
                checkpoint.shape.llm, max_length, self._decoder.embedding
            )
        self._rows_per_slice = config.encode_patches
        self.slots = self._cache.slots
        self.slot_bytes = self._cache.slot_bytes
        self.element_bytes = self._decoder.embedding.itemsize
        if self.device == 'cuda':
            CUDNN_ATTENTION.keep_off()

    def close(self) -> None:
        """Frees weights and cache; the object is dead afterwards."""
        del self._encoder, self._decoder, self._cache, self._positions
        if self.device == 'cuda':
            CUDNN_ATTENTION.give_back()
            torch.cuda.empty_cache()

    def encode_frame(self, frame: FramePatches) -> Generator[None, None, Encoded]:
        """See `encoder.encode_frame`."""
        slices = encode_frame(self._encoder, frame, self._rows_per_slice)
        while True:
            # Gradient mode belongs to the thread: it must not stay switched while the generator is
            # suspended.
            with inference('encoding a frame'):
                try:
                    next(slices)
                except StopIteration as end:
                    result: Encoded = end.value
                    return result
            yield

    def append(self, append: Append, features: Sequence[FeatureRows]) -> Logits:
        """Writes a chunk, with visual features in their places; returns the logits asked for."""
        with inference('appending a chunk'):
            return _to_numpy(self._append(append, features))

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Does the same and returns the most probable tokens; the device moves two numbers for
        each.
        """
        with inference('appending a chunk'):
            logits = self._append(append, features)
            best, choices = logits.max(dim=-1)
            best = torch.where(logits.isfinite().all(dim=-1), best, torch.nan)
            return [
                GreedyToken(int(token_id), float(logit))
                for token_id, logit in zip(choices.tolist(), best.tolist(), strict=True)
            ]

    def _append(self, append: Append, features: Sequence[FeatureRows]) -> torch.Tensor:
        """Returns (len(wanted), vocabulary_size) float32 on the device."""
        ids = torch.tensor(
            append.chunk.token_ids, dtype=torch.int64, device=self._decoder.embedding.device
        )
        embeddings = F.embedding(ids, self._decoder.embedding)
        for offset, rows in features:
            embeddings[offset : offset + len(rows)] = rows
        place = (append.index, append.past)
        hidden = decoder.append(self._decoder, self._cache, self._positions, place, embeddings)
        return decoder.logits(self._decoder, hidden, append.wanted)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        with inference('copying a KV slot'):
            self._cache.copy(source, target, length)

    def to_numpy(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """Copies a tensor to the host."""
        with inference('reading features'):
            return _to_numpy(tensor).copy()


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.float().cpu().numpy()
    return values
