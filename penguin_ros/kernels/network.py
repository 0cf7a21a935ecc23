# SPDX-License-Identifier: Apache-2.0
"""The sizes of a network as kernels see them, and which formats its parts have."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.errors import BuildRefused
from penguin_ros.kernels.packing import INPUTS, OUTPUTS, filled_up
from penguin_ros.kernels.table import ITEM_BYTES


@dataclass(frozen=True)
class Formats:
    """`compute` of activations, fp16, bf16 or fp32; the bits of the weights of the LLM, its head
    and the encoder: 4, 8, or 16 for those that are of the format `compute`. `table`: the format
    of the embeddings, fp32, fp16 or bf16. `cache`: i8 for keys and values with a scale for each
    head and position, '' for the format `compute`.
    """

    compute: str = 'fp16'
    llm: int = 4
    head: int = 4
    encoder: int = 16
    table: str = 'fp16'
    cache: str = ''

    @property
    def kept(self) -> str:
        """The format of keys and values."""
        return self.cache or self.compute

    @property
    def compute_bytes(self) -> int:
        """The bytes of an activation, and of a number of features."""
        return ITEM_BYTES[self.compute]


@dataclass(frozen=True)
class StackSizes:
    """A stack of layers: `size` numbers in a row, which is `hidden` wide in memory; products of
    `qkv`, `width` (what attention mixes), `ffn` and `hidden` outputs. All but `size` are filled up.
    """

    layers: int
    size: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    qkv: int
    width: int
    norm_eps: float

    @property
    def groups(self) -> int:
        """Queries that share a head of keys."""
        return self.heads // self.kv_heads

    @property
    def position_numbers(self) -> int:
        """Numbers that a cache holds for one position."""
        return self.layers * 2 * self.kv_heads * self.head_dim


@dataclass(frozen=True)
class Network:
    """A network. `patch_width`: the numbers of a patch, filled up; `vocabulary` likewise. `splits`:
    into how many parts the length is cut that a few rows attend to.
    """

    llm: StackSizes
    encoder: StackSizes
    patch_values: int
    patch_width: int
    vocabulary_size: int
    vocabulary: int
    formats: Formats
    splits: int = 16


def network_of(shape: CheckpointShape, formats: Formats) -> Network:
    """Returns the sizes of a checkpoint; BuildRefused where heads have a size that the kernels do
    not have.
    """
    return Network(
        llm=_stack(shape.llm),
        encoder=_stack(shape.encoder),
        patch_values=shape.patch_values,
        patch_width=filled_up(shape.patch_values, INPUTS),
        vocabulary_size=shape.vocabulary_size,
        vocabulary=filled_up(shape.vocabulary_size, OUTPUTS),
        formats=formats,
    )


def _stack(shape: TransformerShape) -> StackSizes:
    groups, head_dim = shape.heads // shape.kv_heads, shape.head_dim
    for name, number, limit in (('head_dim', head_dim, 256), ('queries per key', groups, 16)):
        if number & (number - 1) or number > limit or (name == 'head_dim' and number < 16):
            raise BuildRefused(
                f'a network with {name} {number} has no kernels',
                f'they need a power of two, up to {limit}',
                'Take --backend onnxruntime or --backend tensorrt',
            )
    width = shape.heads * head_dim
    return StackSizes(
        layers=shape.layers,
        size=shape.hidden_size,
        hidden=filled_up(shape.hidden_size, INPUTS),
        ffn=filled_up(shape.ffn_size, INPUTS),
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=head_dim,
        qkv=filled_up(width + 2 * shape.kv_heads * head_dim, OUTPUTS),
        width=filled_up(width, INPUTS),
        norm_eps=shape.norm_eps,
    )
