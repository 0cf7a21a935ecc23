# SPDX-License-Identifier: Apache-2.0
"""The LLM as a sequence of kernels: one row at a time for writing text, several rows for prompts,
drafts and branches.

A pass is one graph of CUDA, whatever the slot, the position and the number of rows that count:
these lie in device memory, and programs that have nothing to do leave at once. Importing this file
needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.backends.base.slot_backend import Append, BranchLimits
from penguin_ros.backends.cuda.chunks import EngineRun, FeatureRows, engine_runs
from penguin_ros.backends.cuda.kernel_memory import MAX_ROWS, MAX_WANTED
from penguin_ros.backends.cuda.launcher import Launcher, PassGraphs
from penguin_ros.backends.cuda.llm_passes import (
    LlmPasses,
    PassKind,
    PassSizes,
    pass_kind,
    warm_up,
)
from penguin_ros.backends.cuda.slots import Slots
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.errors import CacheOverflow
from penguin_ros.kernels.network import Network


@dataclass(frozen=True)
class DecoderSizes:
    """The most positions of a slot, and how many tokens are written at once where nobody has to
    look at each.
    """

    max_length: int
    greedy_steps: int


class Decoder:
    """The LLM on `slots`; everything is allocated here."""

    def __init__(
        self,
        launch: Launcher,
        weights: DeviceWeights,
        slots: Slots,
        network: Network,
        sizes: DecoderSizes,
    ) -> None:
        self.slots = slots
        self.graphs = PassGraphs(launch.device)
        self._device = launch.device
        self._max_length = sizes.max_length
        self.greedy_steps = sizes.greedy_steps
        self.branch_limits = BranchLimits(MAX_ROWS, MAX_WANTED)
        pass_sizes = PassSizes(MAX_ROWS, MAX_WANTED, sizes.greedy_steps)
        self._passes = LlmPasses(launch, weights, slots, network, pass_sizes)
        self._vocabulary = network.vocabulary_size

    def warm_up(self) -> None:
        """Runs the passes that come most often once and captures them, while nobody waits. Only
        slot 0 is written to, which must hold nothing.
        """
        for kind in self._passes.common_kinds():
            warm_up(self._passes, self.graphs, kind)

    def append(self, append: Append, features: Sequence[FeatureRows]) -> Logits:
        """Writes a chunk; returns logits (len(wanted), vocabulary)."""
        found: dict[int, NDArray[np.float32]] = {}
        for run in self._runs(append, features):
            found.update(zip(run.wanted, self._passes.logits(len(run.wanted)), strict=True))
        if not append.wanted:
            return np.zeros((0, self._vocabulary), np.float32)
        return np.stack([found[position] for position in append.wanted])

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Writes a chunk; returns what the device chose after each of the positions. The host does
        not look at the logits.
        """
        found: dict[int, GreedyToken] = {}
        for run in self._runs(append, features):
            found.update(zip(run.wanted, self._passes.greedy(len(run.wanted)), strict=True))
        return [found[position] for position in append.wanted]

    def append_greedy_run(self, append: Append, count: int) -> list[GreedyToken] | None:
        """Writes `count` tokens, of which the device chooses all but the first; returns what it
        chose after each. None for another number than those that it writes at once.
        """
        if count not in (1, self.greedy_steps):
            return None
        self._check_room(append.past, count)
        kind = self._fill(append, EngineRun(0, 1, (0,)), ())
        kind = replace(kind, wanted=count)
        self.graphs.run(kind, partial(self._passes.enqueue, kind))
        self._device.synchronize()
        return self._passes.greedy(count)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of a slot to another."""
        self.slots.copy(source, target, length)
        self._device.synchronize()

    def close(self) -> None:
        """Frees the graphs; the memory belongs to the device."""
        self.graphs.close()

    def _runs(self, append: Append, features: Sequence[FeatureRows]) -> Iterator[EngineRun]:
        """Writes a chunk in as many passes as it takes; after each its outputs can be read."""
        num_tokens = append.num_tokens
        self._check_room(append.past, num_tokens)
        wanted = sorted(set(append.wanted))
        for run in engine_runs(num_tokens, wanted, MAX_ROWS, MAX_WANTED):
            kind = self._fill(append, run, features)
            self.graphs.run(kind, partial(self._passes.enqueue, kind))
            self._device.synchronize()
            yield run

    def _check_room(self, past: int, count: int) -> None:
        if past + count > self._max_length:
            raise CacheOverflow(
                'a write past the end of the cache',
                f'{past} + {count} positions',
                'This is a defect; please report it',
            )

    def _fill(self, append: Append, run: EngineRun, features: Sequence[FeatureRows]) -> PassKind:
        """Writes the inputs of one pass."""
        past, count, layout = append.past + run.start, run.end - run.start, append.layout
        inside = [part for rows in features if (part := rows.within(run.start, run.end))]
        tokens = append.chunk.token_ids[run.start : run.end]
        offsets = np.arange(count) if layout is None else layout.offsets
        self._passes.fill(append.index, past, tokens, offsets, inside)
        self._passes.want([position - run.start for position in run.wanted])
        if layout is not None:
            self._passes.hide(past, layout.sees, self.slots.most_pitch)
        return pass_kind(count, len(run.wanted), is_masked=layout is not None)
