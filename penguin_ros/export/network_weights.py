# SPDX-License-Identifier: Apache-2.0
"""The weights of the network as they lie in weight files: what the graphs refer to."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.export.weight_file import StoredTensor


@dataclass(frozen=True)
class StoredMatrix:
    """A weight (inputs, outputs). When `scales` are there, `values` are integers to be multiplied
    by them: one scale per output, or per output and block of `block_size` inputs when that is not
    0; `zero_points`, where given, are all zero. With `is_rowwise`, what is multiplied with it is
    rounded to int8 as well, with one scale per row.
    """

    values: StoredTensor
    scales: StoredTensor | None = None
    zero_points: StoredTensor | None = None
    block_size: int = 0
    is_rowwise: bool = False


@dataclass(frozen=True)
class StoredLinear:
    """A linear map: its outputs are those of `parts` one after the other, plus `bias` where there
    is one.
    """

    parts: tuple[StoredMatrix, ...]
    bias: StoredTensor | None = None

    @property
    def outputs(self) -> int:
        """The outputs of all parts."""
        return sum(part.values.shape[-1] for part in self.parts)


@dataclass(frozen=True)
class StoredLayer:
    """One Qwen3 layer. Matrices that read the same input are one product: `qkv` gives heads + 2 *
    kv_heads heads, `gate_up` 2 * ffn_size values. `norm_eps` is for the norms of the layer's input
    and of the feed-forward network's, whose input may be scaled.
    """

    input_norm: StoredTensor
    qkv: StoredLinear
    q_norm: StoredTensor
    k_norm: StoredTensor
    output: StoredLinear
    ffn_norm: StoredTensor
    gate_up: StoredLinear
    down: StoredLinear
    norm_eps: float


@dataclass(frozen=True)
class StoredStack:
    """A stack of layers and the norm after it, with its `norm_eps`."""

    shape: TransformerShape
    layers: tuple[StoredLayer, ...]
    norm: StoredTensor
    norm_eps: float


@dataclass(frozen=True)
class StoredEncoder:
    """Encoder and projector."""

    patch_values: int
    patches: StoredLinear
    stack: StoredStack
    projector: tuple[StoredLinear, StoredLinear]
    hidden_size: int


@dataclass(frozen=True)
class StoredDecoder:
    """LLM and head, which may have more outputs than `vocabulary_size`; `rotation` holds cos and
    sin (positions, head_dim / 2) of rotary positions.
    """

    stack: StoredStack
    head: StoredLinear
    rotation: tuple[StoredTensor, StoredTensor]
    vocabulary_size: int
