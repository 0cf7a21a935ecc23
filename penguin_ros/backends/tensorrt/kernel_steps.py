# SPDX-License-Identifier: Apache-2.0
"""Decoding and verification in kernels of this project, on the cache that the engines write: it has
the same layout. Passes of few rows without visual features run here, all others in the engine.

Importing this file needs cuda-bindings, but not TensorRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import BackendStats, GreedyToken
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.cuda.chunks import FeatureRows
from penguin_ros.backends.cuda.launcher import PassGraphs
from penguin_ros.backends.cuda.llm_passes import (
    LlmPasses,
    PassKind,
    PassSizes,
    pass_kind,
    warm_up,
)
from penguin_ros.backends.cuda.opened_kernels import OpenedKernels
from penguin_ros.backends.tensorrt.cache import KvCache
from penguin_ros.kernels.rows_set import FEW
from penguin_ros.kernels.table import ITEM_BYTES


class EnginePlaces:
    """Where slots of an engine's cache lie, which are all in one block, for kernels."""

    def __init__(self, cache: KvCache, number_bytes: int) -> None:
        self.address = self.scales = cache.address
        self.most_pitch = cache.shape.max_length
        self._cache = cache
        self._number_bytes = number_bytes

    def offset(self, index: int) -> int:
        """Returns where a slot begins, in numbers."""
        return self._cache.offset_bytes(index) // self._number_bytes


class KernelSteps:
    """Passes of up to FEW rows over the slots of `cache`; its rows must have been moved apart
    before.
    """

    def __init__(self, opened: OpenedKernels, cache: KvCache, greedy_steps: int) -> None:
        network = opened.network
        self.greedy_steps = greedy_steps
        self.way = opened.way
        self._cache = cache
        self._opened = opened
        self._graphs = PassGraphs(opened.launch.device)
        self._passes = LlmPasses(
            opened.launch,
            opened.weights,
            EnginePlaces(cache, ITEM_BYTES[network.formats.kept]),
            network,
            PassSizes(FEW, FEW, greedy_steps),
        )

    def warm_up(self) -> None:
        """Runs each pass once and captures it, for each distance that heads of a slot may have.
        Only slot 0 is written to, which must hold nothing, and is zero afterwards.
        """
        shape = self._cache.shape
        self._cache.offset_bytes(0)  # has the slot zeroed before
        for pitch in shape.buckets() if self._cache.can_grow else [shape.max_length]:
            for kind in self._passes.common_kinds():
                warm_up(self._passes, self._graphs, replace(kind, pitch=pitch))
        self._cache.clear(0)

    def takes(self, part: Append, features: Sequence[FeatureRows]) -> bool:
        """Whether a pass runs here."""
        return part.num_tokens <= FEW and len(part.wanted) <= FEW and not features

    def run(self, part: Append) -> None:
        """Queues a pass."""
        kind = self._filled(part)
        self._graphs.run(kind, partial(self._passes.enqueue, kind))

    def run_greedy(self, part: Append, count: int) -> None:
        """Queues `count` tokens, of which the device chooses all but the first."""
        kind = replace(self._filled(part), wanted=count)
        self._graphs.run(kind, partial(self._passes.enqueue, kind))

    def logits(self, count: int) -> NDArray[np.float32]:
        """Returns a copy of what the last pass left, (count, vocabulary)."""
        return self._passes.logits(count)

    def greedy(self, count: int) -> list[GreedyToken]:
        """Returns what the last pass chose."""
        return self._passes.greedy(count)

    def stats(self) -> BackendStats:
        """Returns counts for users; on any thread."""
        return self._graphs.stats(self._opened.modules)

    def close(self) -> None:
        """Frees graphs, then kernels."""
        self._graphs.close()
        self._opened.close()

    def _filled(self, part: Append) -> PassKind:
        count, layout, pitch = part.num_tokens, part.layout, self._cache.pitch(part.index)
        offsets = np.arange(count) if layout is None else layout.offsets
        self._passes.fill(part.index, part.past, part.chunk.token_ids, offsets, ())
        self._passes.want(part.wanted)
        if layout is not None:
            self._passes.hide(part.past, layout.sees, pitch)
        return pass_kind(count, len(part.wanted), layout is not None, pitch)
