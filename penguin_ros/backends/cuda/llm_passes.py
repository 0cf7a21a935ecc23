# SPDX-License-Identifier: Apache-2.0
"""What one pass of the LLM is given, and what it says; of which kernels it consists says
`kernels.passes`.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken
from penguin_ros.backends.cuda.chunks import FeatureRows
from penguin_ros.backends.cuda.inputs import shared_buffers
from penguin_ros.backends.cuda.kernel_memory import MAX_ROWS, MAX_WANTED
from penguin_ros.backends.cuda.launcher import Launcher, PassGraphs
from penguin_ros.backends.cuda.pass_memory import PassMemory
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.kernels.buffers import Room, decoder_buffers
from penguin_ros.kernels.network import Network
from penguin_ros.kernels.passes import few_heads_pass, one_row_pass, rows_pass
from penguin_ros.kernels.rows_set import FEW
from penguin_ros.kernels.state import OFFSET, POSITION, ROWS, STEP

ROW_COUNTS = (FEW, 64, 128, 256, MAX_ROWS)
WANTED_COUNTS = (0, 1, 16, MAX_WANTED)
"""Passes are made for these; the next larger one serves."""


@dataclass(frozen=True)
class PassKind:
    """A pass of `rows` rows, 1 for writing text, of which the logits of `wanted` are computed; of
    one row as many in turn as are `wanted`, each for the token that the one before it chose. With
    `is_masked` a mask says which rows see which. `pitch`: that of the slot, 0 for the usual one.
    """

    rows: int
    wanted: int
    is_masked: bool = False
    pitch: int = 0


def pass_kind(rows: int, wanted: int, is_masked: bool, pitch: int = 0) -> PassKind:
    """Returns the pass that serves so many rows."""
    if (rows, wanted, is_masked) == (1, 1, False):
        return PassKind(1, 1, pitch=pitch)
    return PassKind(
        next(count for count in ROW_COUNTS if count >= rows),
        next(count for count in WANTED_COUNTS if count >= wanted),
        is_masked,
        pitch,
    )


@dataclass(frozen=True)
class PassSizes:
    """The most rows of a pass, rows whose logits are wanted, and tokens that are written at
    once.
    """

    rows: int
    wanted: int
    greedy_steps: int


class CachePlaces(Protocol):
    """Where keys and values lie: slots begin at an offset from `address`, counted in numbers, and
    their scales at as many D-ths of it from `scales`; a head of a slot has room for `pitch`
    positions, at most `most_pitch`.
    """

    @property
    def address(self) -> int:
        """The first slot's place."""

    @property
    def scales(self) -> int:
        """The first slot's scales, any place where there are none."""

    @property
    def most_pitch(self) -> int:
        """The largest pitch."""

    def offset(self, index: int) -> int:
        """Returns where a slot begins."""


class LlmPasses:
    """All passes of the LLM of a network, on `slots`."""

    def __init__(
        self,
        launch: Launcher,
        weights: DeviceWeights,
        slots: CachePlaces,
        network: Network,
        sizes: PassSizes,
    ) -> None:
        self.device = device = launch.device
        self._slots = slots
        self._network = network
        self._sizes = sizes
        pitch = slots.most_pitch
        room = Room(sizes.rows, pitch, sizes.greedy_steps, 0, sizes.rows, sizes.wanted)
        buffers = {buffer.name: buffer for buffer in decoder_buffers(network, room)}
        names = ('state', 'head_state', 'tokens', 'angles', 'wanted')
        self.inputs, self._mask, self._outputs = (
            shared_buffers(device, [buffers[name] for name in part])
            for part in (names, ('mask',), ('chosen', 'chosen_logits'))
        )
        blocks = (self.inputs, self._mask, self._outputs)
        self._memory = PassMemory(launch, weights, buffers.values(), blocks)
        self._host_row = device.allocate_host(4 * network.vocabulary_size)

    # --- the kernels ------------------------------------------------------------------------------

    def enqueue(self, kind: PassKind) -> None:
        """Queues a pass, from its inputs to its outputs."""
        self.inputs.to_device()
        if kind.is_masked:
            self._mask.to_device()
        network, memory, slots = self._network, self._memory, self._slots
        pitch = kind.pitch or slots.most_pitch
        places = {'cache': slots.address, 'kv_scales': slots.scales, 'pitch': pitch}
        if kind.rows == 1:
            for _ in range(kind.wanted):
                memory.enqueue(one_row_pass(network), 1, places)
        else:
            memory.enqueue(rows_pass(network, kind.rows, kind.is_masked), kind.rows, places)
            if kind.wanted:
                memory.enqueue(few_heads_pass(network), kind.wanted, places)
        self._outputs.to_host()

    def common_kinds(self) -> Iterator[PassKind]:
        """Yields what is made when a backend opens."""
        for steps in {1, self._sizes.greedy_steps}:
            yield PassKind(1, steps)
        yield PassKind(ROW_COUNTS[0], WANTED_COUNTS[2])
        if self._sizes.rows > FEW:
            for wanted in WANTED_COUNTS[:2]:
                yield PassKind(self._sizes.rows, wanted)

    # --- what a pass is given ---------------------------------------------------------------------

    def fill(
        self,
        slot: int,
        past: int,
        tokens: NDArray[np.int64],
        offsets: NDArray[np.int64],
        features: Sequence[FeatureRows],
    ) -> None:
        """Writes the rows of a pass: their tokens, whose embeddings are replaced by features where
        there are any, and how many positions behind the slot's end they count.
        """
        inputs, count = self.inputs, len(tokens)
        state = inputs['state']
        state[[POSITION, ROWS, OFFSET, STEP]] = past, count, self._slots.offset(slot), 0
        inputs['tokens'][:count] = tokens
        inputs['angles'][:count] = past + offsets
        for rows in features:
            places = np.arange(rows.offset, rows.offset + rows.count)
            inputs['tokens'][places] = -1 - places
            start = self._memory['features'] + rows.offset * rows.row_bytes
            self.device.copy(start, rows.address, rows.count * rows.row_bytes)

    def want(self, rows: Sequence[int]) -> None:
        """Writes which rows' logits are wanted."""
        self.inputs['wanted'][:] = 0
        self.inputs['wanted'][: len(rows)] = rows
        self.inputs['head_state'][ROWS] = len(rows)

    def hide(self, past: int, sees: NDArray[np.bool_], pitch: int) -> None:
        """Writes a mask: all rows see the `past` positions, and each other as `sees` says."""
        count = len(sees)
        bits = np.zeros((count, -(-pitch // 32) * 32), bool)
        bits[:, :past] = True
        bits[:, past : past + count] = sees
        packed = np.packbits(bits, axis=1, bitorder='little').view('<i4')
        self._mask['mask'][: packed.size] = packed.reshape(-1)

    def begin_empty(self) -> None:
        """Writes the inputs of a pass of one row at the beginning of the first slot."""
        inputs = self.inputs
        for name in inputs.names:
            inputs[name][:] = 0
        inputs['state'][ROWS] = inputs['head_state'][ROWS] = 1

    # --- what a pass says -------------------------------------------------------------------------

    def logits(self, count: int) -> NDArray[np.float32]:
        """Returns a copy of what the last pass left, (count, vocabulary)."""
        rows = np.empty((count, self._network.vocabulary_size), np.float32)
        for index, row in enumerate(rows):
            source = self._memory['logits'] + index * row.nbytes
            self.device.copy(self._host_row.address, source, row.nbytes)
            self.device.synchronize()
            row[:] = self._host_row.view(np.dtype(np.float32), row.shape)
        return rows

    def greedy(self, count: int) -> list[GreedyToken]:
        """Returns what the last pass chose for each of the rows that were wanted."""
        chosen, logits = self._outputs['chosen'], self._outputs['chosen_logits']
        return [
            GreedyToken(int(token), float(logit))
            for token, logit in zip(chosen[:count].tolist(), logits[:count].tolist(), strict=True)
        ]


def warm_up(passes: LlmPasses, graphs: PassGraphs, kind: PassKind) -> None:
    """Runs a pass once on one row of the first slot, which must hold nothing, and captures it."""
    passes.begin_empty()
    enqueue = partial(passes.enqueue, kind)
    enqueue()
    passes.device.synchronize()
    graphs.prepare(kind, enqueue)
