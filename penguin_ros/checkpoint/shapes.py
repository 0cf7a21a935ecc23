# SPDX-License-Identifier: Apache-2.0
"""The angular frequencies of rotary positions. Knows neither tables nor grids.

What a checkpoint's configuration says, as values. Knows neither files nor tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TransformerShape:
    """One stack of Qwen3 layers. `head_dim` is its own number: in general not hidden_size / heads."""

    layers: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float


@dataclass(frozen=True)
class ProcessorShape:
    """How pictures become patches: per channel `image_mean` and `image_std` after multiplying by
    `rescale_factor`; token budget of a request; `patch_size` in pixels; merge sizes in patches;
    `fps` in Hz.
    """

    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    rescale_factor: float
    min_tokens: int
    max_tokens: int
    patch_size: int
    image_merge_size: int
    video_merge_size: int
    fps: float
    max_frames: int


@dataclass(frozen=True)
class CheckpointShape:
    """Every number that a backend or the preprocessing needs.

    `is_tied`: the head is the embedding. `stop_token_ids`: decoding ends at any of them.
    `max_positions`: context length in tokens that the model was trained for.
    """

    llm: TransformerShape
    encoder: TransformerShape
    channels: int
    patch_size: int
    vocabulary_size: int
    image_token_id: int
    is_tied: bool
    stop_token_ids: tuple[int, ...]
    max_positions: int
    processor: ProcessorShape

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: channels x patch_size x patch_size."""
        return self.channels * self.patch_size**2


def inverse_frequencies(head_dim: int, theta: float) -> NDArray[np.float32]:
    """(head_dim / 2,) radians per position, in float32 from the start as PyTorch computes them: at
    large positions the rounding of the angle is what the model was trained with.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies: NDArray[np.float32] = np.float32(1.0) / np.float32(theta) ** exponents
    return frequencies
