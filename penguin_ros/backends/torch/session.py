# SPDX-License-Identifier: Apache-2.0
"""A whole Penguin-VL on one device: frames to features, chunks to logits. Knows places of the
cache, not who uses them.

Every entry runs without gradients, and what torch raises leaves as a named error.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.backends.torch import decoder
from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.device import choose_device, choose_precision, inference
from penguin_ros.backends.torch.encoder import Encoded, encode_frame
from penguin_ros.backends.torch.weights import WeightLoader
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

FeatureRows = tuple[int, torch.Tensor]
"""Where in a chunk the rows (count, hidden_size) of visual features stand."""


class TorchNetwork:
    """Weights and cache; `max_length` positions per place."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, max_length: int) -> None:
        with inference('loading the model'):
            device = choose_device(config.device)
            self.device, self.precision = device.type, choose_precision(config.precision, device)
            if config.threads:
                torch.set_num_threads(config.threads)
            loader = WeightLoader(checkpoint, device, getattr(torch, self.precision))
            self._encoder, self._language = loader.encoder(), loader.language()
        with inference(f'allocating KV slots of {max_length} positions'):
            self._cache = KeyValueCache(
                checkpoint.shape.llm, config, max_length, self._language.embedding
            )
        self._rows_per_slice = config.encode_patches
        self.slots, self.slot_bytes = self._cache.slots, self._cache.slot_bytes
        self.element_bytes = self._language.embedding.itemsize

    def close(self) -> None:
        """Frees weights and cache; the object is dead afterwards."""
        del self._encoder, self._language, self._cache
        if self.device == 'cuda':
            torch.cuda.empty_cache()

    def encode_frame(self, frame: FramePatches) -> Generator[None, None, Encoded]:
        """See torch_encoder.encode_frame."""
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

    def append(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        features: Sequence[FeatureRows],
        logits_indices: Sequence[int],
    ) -> Logits:
        """Appends a chunk to `place`, which holds `past` positions; logits of the chosen ones."""
        with inference('appending a chunk'):
            return _to_numpy(self._append(place, past, token_ids, features, logits_indices))

    def append_greedy(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        features: Sequence[FeatureRows],
        logits_indices: Sequence[int],
    ) -> list[GreedyToken]:
        """The same; the best token after each of the chosen ones, of which the device moves two
        numbers each.
        """
        with inference('appending a chunk'):
            logits = self._append(place, past, token_ids, features, logits_indices)
            best, choices = logits.max(dim=-1)
            best = torch.where(logits.isfinite().all(dim=-1), best, torch.nan)
            return [
                GreedyToken(int(token_id), float(logit))
                for token_id, logit in zip(choices.tolist(), best.tolist(), strict=True)
            ]

    def _append(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        features: Sequence[FeatureRows],
        logits_indices: Sequence[int],
    ) -> torch.Tensor:
        """(len(logits_indices), vocabulary_size) float32 on the device."""
        ids = torch.tensor(token_ids, dtype=torch.int64, device=self._language.embedding.device)
        embeddings = F.embedding(ids, self._language.embedding)
        for offset, rows in features:
            embeddings[offset : offset + len(rows)] = rows
        hidden = decoder.append(self._language, self._cache, place, past, embeddings)
        return decoder.logits(self._language, hidden, logits_indices)

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of one place to another."""
        with inference('copying a KV slot'):
            self._cache.copy(source, target, length)

    def to_numpy(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """A copy on the host."""
        with inference('reading features'):
            return _to_numpy(tensor).copy()


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.float().cpu().numpy()
    return values
