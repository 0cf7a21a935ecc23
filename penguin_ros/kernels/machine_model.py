# SPDX-License-Identifier: Apache-2.0
"""How fast a board can write tokens with these kernels, from what they read: a model, not a
measurement. Nobody has run them on any of these boards.

A kernel takes as long as its bytes at the share of the bandwidth that good kernels reach, or as its
instructions at the share of the issue rate that they reach, whichever is longer, and a launch.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.kernels.network import Network
from penguin_ros.kernels.one_row_set import head_programs
from penguin_ros.kernels.packing import INPUTS
from penguin_ros.kernels.table import ITEM_BYTES

BANDWIDTH_SHARE = 0.8
"""Published stacks with kernels of their own reach 0.65 to 0.9 of a board's bandwidth."""

ISSUE_SHARE = 0.8
LANES = 128
"""Instructions of threads that a multiprocessor issues in a clock."""

INSTRUCTIONS = {4: 4.2, 8: 4.5, 16: 3.6}
"""Instructions for each weight by its bits: what the machine code of the 2B for sm_87 has in the
mean of a layer's products. `docs/kernels.md` has those of int4.
"""

KV_INSTRUCTIONS = 12.0
"""Instructions for each number of the cache, counted in the loop of `one.attend`, likewise."""


@dataclass(frozen=True)
class Board:
    """A board: gigabytes a second of memory, multiprocessors and their clock, and the microseconds
    that a launch in a recorded pass takes beside its work, which is an assumption.
    """

    name: str
    bandwidth: float
    multiprocessors: int
    gigahertz: float
    launch_us: float


BOARDS = (
    Board('Orin Nano 8 GB', 68.0, 8, 0.625, 3.0),
    Board('Orin Nano Super', 102.4, 8, 1.02, 2.5),
    Board('Orin NX 16 GB', 102.4, 8, 0.918, 2.5),
    Board('AGX Orin 64 GB', 204.8, 16, 1.3, 2.0),
    Board('Thor T5000', 273.0, 20, 1.575, 1.5),
)


@dataclass(frozen=True)
class Cost:
    """What all launches of a kernel in one step take: how many they are, `bytes` read and written,
    and instructions of threads.
    """

    kernel: str
    launches: int
    bytes: float
    instructions: float


def decode_costs(network: Network, position: int) -> list[Cost]:
    """Returns what writing the token at a position takes, by kernel."""
    llm, formats = network.llm, network.formats
    layers = llm.layers
    held = 2 * llm.kv_heads * llm.head_dim * (position + 1)
    parts = llm.heads * network.splits * (llm.head_dim + 2) * 4
    item = ITEM_BYTES[formats.compute]
    winners = head_programs(network) * 12
    return [
        Cost('gather', 1, llm.hidden * (item + 4), llm.hidden * 4),
        _product('one.qkv', layers, llm.hidden, llm.qkv, formats.llm),
        Cost('one.attend', layers, layers * (held * item + parts), layers * held * KV_INSTRUCTIONS),
        Cost('one.combine', layers, layers * parts, layers * parts),
        _product('one.output', layers, llm.width, llm.hidden, formats.llm),
        _product('one.gated', layers, llm.hidden, 2 * llm.ffn, formats.llm),
        _product('one.down', layers, llm.ffn, llm.hidden, formats.llm),
        _product('one.head', 1, llm.hidden, network.vocabulary, formats.head),
        Cost('one.choose', 1, winners, winners),
    ]


def _product(kernel: str, count: int, inputs: int, outputs: int, bits: int) -> Cost:
    weights = inputs * outputs
    size = weights * bits / 8 + (outputs * (inputs // INPUTS) * 2 if bits < 16 else 0)
    activations = (inputs + outputs) * 4
    return Cost(kernel, count, count * (size + activations), count * weights * INSTRUCTIONS[bits])


def limit_seconds(board: Board, costs: list[Cost]) -> float:
    """Returns the seconds of a step that did nothing but read at the full bandwidth."""
    return sum(cost.bytes for cost in costs) / (board.bandwidth * 1e9)


def predicted_seconds(board: Board, costs: list[Cost]) -> float:
    """Returns the seconds of a step by this model."""
    rate = board.bandwidth * 1e9 * BANDWIDTH_SHARE
    issue = board.multiprocessors * LANES * board.gigahertz * 1e9 * ISSUE_SHARE
    return sum(
        max(cost.bytes / rate, cost.instructions / issue) + cost.launches * board.launch_us * 1e-6
        for cost in costs
    )
