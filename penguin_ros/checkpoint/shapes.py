# SPDX-License-Identifier: Apache-2.0
"""The numbers in a checkpoint's configuration, as values, and the frequencies of the rotary
positions that follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of one stack of Qwen3 layers; `head_dim` is independent of hidden_size / heads."""

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
    """How images become patches.

    `image_mean` and `image_std` are per channel and apply after multiplying by `rescale_factor`;
    `min_tokens` and `max_tokens` are the budget of a request; `patch_size` is in pixels, the merge
    sizes are in patches, `fps` in Hz.
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
    `max_positions`: the context length in tokens for which the model was trained.
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
        """The numbers in one patch: channels x patch_size x patch_size."""
        return self.channels * self.patch_size**2


def inverse_frequencies(head_dim: int, theta: float) -> NDArray[np.float32]:
    """Returns (head_dim / 2,) radians per position.

    They are computed in float32 from the start, as in PyTorch: at large positions the rounding of
    the angle is what the model was trained with.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies: NDArray[np.float32] = np.float32(1.0) / np.float32(theta) ** exponents
    return frequencies
