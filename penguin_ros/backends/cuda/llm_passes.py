# SPDX-License-Identifier: Apache-2.0
"""What one pass of the LLM is given, which kernels it consists of, and what it says.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken
from penguin_ros.backends.cuda.chunks import FeatureRows
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.inputs import SharedBlock
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.layers import LayerStack, Sight, StackBuffers, zeroed
from penguin_ros.backends.cuda.slots import Slots
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.kernels.network import Network
from penguin_ros.kernels.rows_set import FEW
from penguin_ros.kernels.state import ENTRIES, OFFSET, POSITION, ROWS

MAX_ROWS, MAX_WANTED = 512, 64
"""Rows of one pass, and of those whose logits are wanted."""

ROW_COUNTS = (FEW, 64, 128, 256, MAX_ROWS)
WANTED_COUNTS = (0, 1, 16, MAX_WANTED)
"""Passes are made for these; the next larger one serves."""


LEAST_TILE = 8
"""Outputs of the head that a program computes at least, of which it leaves one winner."""


@dataclass(frozen=True)
class PassKind:
    """A pass of `rows` rows, 1 for writing text, of which the logits of `wanted` are computed. With
    `is_masked` a mask says which rows see which.
    """

    rows: int
    wanted: int
    is_masked: bool = False


def pass_kind(rows: int, wanted: int, is_masked: bool) -> PassKind:
    """Returns the pass that serves so many rows."""
    if (rows, wanted, is_masked) == (1, 1, False):
        return PassKind(1, 1)
    return PassKind(
        next(count for count in ROW_COUNTS if count >= rows),
        next(count for count in WANTED_COUNTS if count >= wanted),
        is_masked,
    )


class LlmPasses:
    """All passes of the LLM of a network, on `slots`."""

    def __init__(
        self, launch: Launcher, weights: DeviceWeights, slots: Slots, network: Network
    ) -> None:
        self._launch = launch
        self._device = device = launch.device
        self._weights = weights
        self._slots = slots
        self._network = network
        self._words = slots.shape.pitch // 32
        self.inputs = SharedBlock(
            device,
            {
                'state': (np.int64, ENTRIES),
                'head_state': (np.int64, ENTRIES),
                'tokens': (np.int32, MAX_ROWS),
                'angles': (np.int32, MAX_ROWS),
                'wanted': (np.int32, MAX_WANTED),
            },
        )
        self._mask = SharedBlock(device, {'mask': (np.uint32, MAX_ROWS * self._words)})
        self._outputs = SharedBlock(
            device,
            {'chosen': (np.int32, MAX_WANTED), 'chosen_logits': (np.float32, MAX_WANTED)},
        )
        self._allocate(device, network)

    def _allocate(self, device: CudaDevice, network: Network) -> None:
        llm, vocabulary = network.llm, network.vocabulary_size
        self._host_row = device.allocate_host(4 * vocabulary)
        self._x = zeroed(device, MAX_ROWS * llm.hidden * 4)
        self._features = zeroed(device, MAX_ROWS * llm.hidden * 2)
        self._picked = zeroed(device, MAX_WANTED * llm.hidden * 4)
        self._logits = device.allocate(MAX_WANTED * vocabulary * 4)
        self._one_mixed = zeroed(device, llm.width * 4)
        self._one_gated = zeroed(device, llm.ffn * 4)
        winners = MAX_WANTED * network.vocabulary // LEAST_TILE
        self._best, self._winners, self._checks = (device.allocate(winners * 4) for _ in range(3))
        buffers = StackBuffers(device, llm, MAX_ROWS, FEW, network.splits)
        self._stack = LayerStack(self._launch, self._weights, 'llm', buffers)

    # --- the kernels ------------------------------------------------------------------------------

    def enqueue(self, kind: PassKind) -> None:
        """Queues a pass, from its inputs to its outputs."""
        self.inputs.to_device()
        if kind.is_masked:
            self._mask.to_device()
        self._launch(
            'gather',
            kind.rows,
            tokens=self.inputs.address('tokens'),
            table=self._weights.table,
            features=self._features,
            x=self._x,
        )
        sight = self._sight(kind)
        for layer in range(self._network.llm.layers):
            if kind.rows == 1:
                self._one_layer(layer, sight)
            else:
                kernels = 'few' if kind.rows <= FEW else 'many'
                self._stack.enqueue(kernels, layer, layer, self._x, kind.rows, sight)
        if kind.rows == 1:
            self._one_head()
        elif kind.wanted:
            self._head(kind.wanted)
        self._outputs.to_host()

    def _sight(self, kind: PassKind) -> Sight:
        return Sight(
            state=self.inputs.address('state'),
            angles=self.inputs.address('angles'),
            table=self._weights['llm.rotation'],
            cache=self._slots.address,
            pitch=self._slots.shape.pitch,
            mask=self._mask.address('mask') if kind.is_masked else 0,
        )

    def _one_layer(self, index: int, sight: Sight) -> None:
        """Queues a layer of one row: its norms are part of the products."""
        launch, buffers, layer = self._launch, self._stack.buffers, self._stack.layer(index)
        self._one('qkv', layer + 'self_attn.qkv', self._x, buffers.qkv, layer + 'input_layernorm')
        launch(
            'one.attend',
            state=sight.state,
            qkv=buffers.qkv,
            q_gain=self._weights[layer + 'self_attn.q_norm.weight'],
            k_gain=self._weights[layer + 'self_attn.k_norm.weight'],
            table=sight.table,
            cache=sight.cache,
            parts=buffers.parts,
            sums=buffers.sums,
            layer=index,
            pitch=sight.pitch,
        )
        launch('one.combine', parts=buffers.parts, sums=buffers.sums, mixed=self._one_mixed)
        self._one('output', layer + 'self_attn.o_proj', self._one_mixed, self._x)
        norm = layer + 'post_attention_layernorm'
        self._one('gated', layer + 'mlp.gate_up', self._x, self._one_gated, norm)
        self._one('down', layer + 'mlp.down_proj', self._one_gated, self._x)

    def _one(self, role: str, matrix: str, x: int, y: int, norm: str = '') -> None:
        words, scales = self._stack.matrix(matrix)
        gain = {'gain': self._weights[f'{norm}.weight']} if norm else {}
        self._launch(f'one.{role}', x=x, **gain, weights=words, scales=scales, y=y)

    def _one_head(self) -> None:
        words, scales = self._stack.matrix('llm.lm_head.0')
        self._launch(
            'one.head',
            x=self._x,
            gain=self._weights['llm.norm.weight'],
            weights=words,
            scales=scales,
            **self._results(),
        )
        self._choose('one', 1, 'state')

    def _head(self, rows: int) -> None:
        """Queues norm and head of the rows that are wanted."""
        wanted = self.inputs.address('wanted')
        self._launch('pick', rows, x=self._x, wanted=wanted, y=self._picked)
        self._stack.norm('few', 'llm.norm.weight', self._picked, rows)
        words, scales = self._stack.matrix('llm.lm_head.0')
        self._launch(
            'few.head',
            rows,
            state=self.inputs.address('head_state'),
            x=self._stack.buffers.normed,
            weights=words,
            scales=scales,
            **self._results(),
        )
        self._choose('few', rows, 'head_state')

    def _results(self) -> dict[str, int]:
        return {
            'logits': self._logits,
            'best': self._best,
            'winners': self._winners,
            'checks': self._checks,
        }

    def _choose(self, kernels: str, rows: int, state: str) -> None:
        results = self._results()
        del results['logits']
        self._launch(
            f'{kernels}.choose',
            rows,
            state=self.inputs.address(state),
            tokens=self.inputs.address('tokens'),
            chosen=self._outputs.address('chosen'),
            chosen_logits=self._outputs.address('chosen_logits'),
            **results,
        )

    def common_kinds(self) -> Iterator[PassKind]:
        """Yields what is made when a backend opens."""
        yield PassKind(1, 1)
        yield PassKind(ROW_COUNTS[0], WANTED_COUNTS[2])
        for wanted in WANTED_COUNTS[:2]:
            yield PassKind(MAX_ROWS, wanted)

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
        state[POSITION], state[ROWS], state[OFFSET] = past, count, self._slots.offset(slot)
        inputs['tokens'][:count] = tokens
        inputs['angles'][:count] = past + offsets
        for rows in features:
            places = np.arange(rows.offset, rows.offset + rows.count)
            inputs['tokens'][places] = -1 - places
            start = self._features + rows.offset * rows.row_bytes
            self._device.copy(start, rows.address, rows.count * rows.row_bytes)

    def want(self, rows: Sequence[int]) -> None:
        """Writes which rows' logits are wanted."""
        self.inputs['wanted'][:] = 0
        self.inputs['wanted'][: len(rows)] = rows
        self.inputs['head_state'][ROWS] = len(rows)

    def hide(self, past: int, sees: NDArray[np.bool_]) -> None:
        """Writes a mask: all rows see the `past` positions, and each other as `sees` says."""
        count = len(sees)
        bits = np.zeros((count, 32 * self._words), bool)
        bits[:, :past] = True
        bits[:, past : past + count] = sees
        packed = np.packbits(bits, axis=1, bitorder='little').view('<u4')
        self._mask['mask'][: packed.size] = packed.reshape(-1)

    # --- what a pass says -------------------------------------------------------------------------

    def logits(self, count: int) -> NDArray[np.float32]:
        """Returns a copy of what the last pass left, (count, vocabulary)."""
        rows = np.empty((count, self._network.vocabulary_size), np.float32)
        for index, row in enumerate(rows):
            source = self._logits + index * row.nbytes
            self._device.copy(self._host_row.address, source, row.nbytes)
            self._device.synchronize()
            row[:] = self._host_row.view(np.dtype(np.float32), row.shape)
        return rows

    def greedy(self, count: int) -> list[GreedyToken]:
        """Returns what the last pass chose for each of the rows that were wanted."""
        chosen, logits = self._outputs['chosen'], self._outputs['chosen_logits']
        return [
            GreedyToken(int(token), float(logit))
            for token, logit in zip(chosen[:count].tolist(), logits[:count].tolist(), strict=True)
        ]
