# SPDX-License-Identifier: Apache-2.0
"""The working memory of passes: which buffers there are, by the names that `passes` uses, and how
large. All are zeroed once, when they are made, and none is larger for a longer text.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.kernels.network import Network
from penguin_ros.kernels.one_row_set import head_programs
from penguin_ros.kernels.packing import filled_up
from penguin_ros.kernels.rows_set import FEW, MANY, TILES
from penguin_ros.kernels.state import ENTRIES
from penguin_ros.kernels.table import ITEM_BYTES


@dataclass(frozen=True)
class Room:
    """What passes have room for: chunks of `rows`, slots of `pitch` positions, `steps` tokens that
    are written by themselves, frames of `patches`, `features` rows of visual features, the logits
    of `wanted` rows, a multiple of FEW.
    """

    rows: int
    pitch: int
    steps: int
    patches: int
    features: int
    wanted: int = FEW


@dataclass(frozen=True)
class Buffer:
    """`count` numbers of the type `kind`."""

    name: str
    kind: str
    count: int

    @property
    def byte_count(self) -> int:
        """Its size."""
        return self.count * ITEM_BYTES[self.kind]


def decoder_buffers(network: Network, room: Room) -> list[Buffer]:
    """Returns the buffers of passes of the LLM; the cache is not among them."""
    llm, compute = network.llm, network.formats.compute
    rows = filled_up(max(room.rows, FEW), MANY)
    wanted = filled_up(room.wanted, FEW)
    winners = max(head_programs(network), wanted * (network.vocabulary // TILES[FEW].outputs))
    parts = FEW * llm.heads * network.splits
    return [
        Buffer('state', 'i64', ENTRIES),
        Buffer('head_state', 'i64', ENTRIES),
        Buffer('tokens', 'i32', rows),
        Buffer('angles', 'i32', rows),
        Buffer('wanted', 'i32', wanted),
        Buffer('mask', 'i32', rows * -(-room.pitch // 32)),
        Buffer('features', compute, max(1, room.features) * llm.hidden),
        Buffer('x', 'fp32', rows * llm.hidden),
        Buffer('normed', compute, rows * llm.hidden),
        Buffer('qkv', 'fp32', rows * llm.qkv),
        Buffer('queries', compute, rows * llm.width),
        Buffer('mixed', compute, rows * llm.width),
        Buffer('gated', compute, rows * llm.ffn),
        Buffer('one.mixed', 'fp32', llm.width),
        Buffer('one.gated', 'fp32', llm.ffn),
        Buffer('parts', 'fp32', parts * llm.head_dim),
        Buffer('sums', 'fp32', parts * 2),
        Buffer('last', 'fp32', wanted * llm.hidden),
        Buffer('last_normed', compute, wanted * llm.hidden),
        Buffer('logits', 'fp32', wanted * network.vocabulary_size),
        Buffer('best', 'fp32', winners),
        Buffer('winners', 'i32', winners),
        Buffer('checks', 'fp32', winners),
        Buffer('chosen', 'i32', max(room.steps, wanted)),
        Buffer('chosen_logits', 'fp32', max(room.steps, wanted)),
    ]


def encoder_buffers(network: Network, room: Room) -> list[Buffer]:
    """Returns the buffers of passes of the encoder, its cache among them; `row_numbers` are 0, 1,
    2 and so on.
    """
    stack, compute = network.encoder, network.formats.compute
    rows = filled_up(room.patches, MANY)
    return [
        Buffer('encoder.state', 'i64', ENTRIES),
        Buffer('encoder.head_state', 'i64', ENTRIES),
        Buffer('row_numbers', 'i32', rows),
        Buffer('levels', 'u8', rows * network.patch_values),
        Buffer('level_table', 'fp32', 3 * 256),
        Buffer('numbers', 'fp32', rows * network.patch_values),
        Buffer('patches', compute, rows * network.patch_width),
        Buffer('encoder.rope', 'fp32', rows * 2 * stack.head_dim),
        Buffer('encoder.x', 'fp32', rows * stack.hidden),
        Buffer('encoder.normed', compute, rows * stack.hidden),
        Buffer('encoder.qkv', 'fp32', rows * stack.qkv),
        Buffer('encoder.queries', compute, rows * stack.width),
        Buffer('encoder.cache', compute, 2 * stack.kv_heads * rows * stack.head_dim),
        Buffer('encoder.mixed', compute, rows * stack.width),
        Buffer('encoder.gated', compute, rows * stack.ffn),
        Buffer('encoder.kv_scales', 'fp32', 1),
        Buffer('encoder.mask', 'i32', 1),
        Buffer('encoder.parts', 'fp32', 1),
        Buffer('encoder.sums', 'fp32', 1),
        Buffer('merge_weights', 'fp32', 64),
        Buffer('merged', compute, rows * stack.hidden),
        Buffer('projected', compute, rows * network.llm.hidden),
        Buffer('new_features', compute, rows * network.llm.hidden),
    ]
