# SPDX-License-Identifier: Apache-2.0
"""Steps of the LLM on a device: for each shape of a step in a slot, inputs, logits and cache are
bound once, to memory of the device that stays where it is; a step copies its inputs there.

So a shape that comes again can be captured by the provider as one graph of launches, where that is
asked for: launching its kernels one by one takes the host longer than the device takes to run them.
A capture that fails ends capturing, not the step.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import BackendStats, Logits
from penguin_ros.backends.base.recently_used import RecentlyUsed
from penguin_ros.backends.onnxruntime.device_cache import DeviceCache
from penguin_ros.backends.onnxruntime.library import is_of_the_library
from penguin_ros.backends.onnxruntime.session import QUIET
from penguin_ros.backends.onnxruntime.steps import NEW, Step, StepGraph, past_name

MAX_BOUND = 48
"""Shapes that stay bound; the least recently used is let go for another."""

MAX_CAPTURED = 64
"""Graphs of one opening. The provider keeps each until it is closed; later shapes run without."""

GRAPH_ID, WITHOUT = 'gpu_graph_id', '-1'
"""The entry of a run's options that names the graph to capture or replay, and its value for
none.
"""

Key = tuple[int, int, int, int]
"""Slot, length that it shows, rows, logits asked for: what shapes and addresses follow from."""


@dataclass(eq=False)
class _Bound:
    binding: Any
    options: Any
    inputs: dict[str, Any]
    logits: Any
    new: Any
    uses: int = 0
    is_captured: bool = False


@dataclass
class CaptureCounts:
    """Steps that were bound anew (`bound`), graphs that were `captured`, steps that `replayed` one;
    `failure` is why none are captured any more, '' when they are or were not asked for.
    """

    bound: int = 0
    captured: int = 0
    replayed: int = 0
    failure: str = ''


class DeviceSteps:
    """Runs `session` on the slots of `cache`; `can_capture` where the session was opened for it."""

    def __init__(
        self,
        library: ModuleType,
        session: Any,
        cache: DeviceCache,
        graph: StepGraph,
        can_capture: bool,
    ) -> None:
        self.counts = CaptureCounts()
        self._kept: RecentlyUsed[Key, _Bound] = RecentlyUsed(MAX_BOUND)
        self._library = library
        self._session = session
        self._cache = cache
        self._graph = graph
        self.can_capture = can_capture
        self._is_opened_for_capture = can_capture

    def run(self, step: Step) -> Logits:
        """See HostSteps. One row of logits is computed where none is asked for, so that no tensor
        is empty; the slot is spoiled where logits are not finite.
        """
        asked = step if step.wanted else Step(step.index, step.past, step.embeddings, [0])
        bound = self._bound(asked)
        inputs = self._graph.inputs(asked, self._cache.length(step.index))
        for name, values in inputs.items():
            bound.inputs[name].update_inplace(values)
            # Bound again, since a binding may hold a copy for an input that is read on the host.
            bound.binding.bind_ortvalue_input(name, bound.inputs[name])
        self._launch(bound)
        if bound.new is not None:
            self._cache.write(step.index, step.past, bound.new.data_ptr(), len(step.embeddings))
        logits: Logits = np.array(bound.logits.numpy()[0], np.float32)
        if not np.isfinite(logits[:, 0]).all():
            self._cache.spoil(step.index)
        return logits[: len(step.wanted)]

    def moved(self, index: int) -> None:
        """See HostSteps; the shapes of a slot are kept by its length, and its memory stays."""

    def stats(self) -> BackendStats:
        """Returns what was bound, captured and replayed, and why nothing is captured; on any
        thread.
        """
        counts = self.counts
        if not self._is_opened_for_capture and not counts.failure:
            return BackendStats({'shapes bound': counts.bound})
        numbers = {
            'shapes bound': counts.bound,
            'graphs captured': counts.captured,
            'steps replayed': counts.replayed,
        }
        return BackendStats(numbers, counts.failure)

    def refuse_capture(self, why: str) -> None:
        """Ends capturing, and says so once."""
        self.can_capture = False
        self.counts.failure = f'ONNX Runtime captures no graph of launches: {why}'
        logging.getLogger(__name__).warning('%s', self.counts.failure)

    def _launch(self, bound: _Bound) -> None:
        """Runs what is bound. A shape is captured when it is used for the second time; running it
        again after a failure does no harm, since a step writes the same values to the same places.
        """
        bound.uses += 1
        is_new = self.can_capture and bound.uses > 1 and not bound.is_captured
        if is_new and self.counts.captured < MAX_CAPTURED:
            try:
                self._capture(bound)
                return
            except Exception as error:  # the library's exceptions have no base class of their own
                if not is_of_the_library(error):
                    raise
                bound.options = self._options(WITHOUT)
                self.refuse_capture(str(error).partition('\n')[0][:300])
        self._session.run_with_iobinding(bound.binding, bound.options)
        self.counts.replayed += bound.is_captured

    def _capture(self, bound: _Bound) -> None:
        options = self._options(str(self.counts.captured))
        self._session.run_with_iobinding(bound.binding, options)
        bound.options, bound.is_captured = options, True
        self.counts.captured += 1

    def _bound(self, step: Step) -> _Bound:
        length = self._cache.length(step.index)
        key = (step.index, length, len(step.embeddings), len(step.wanted))
        return self._kept.get(key, lambda: self._bind(step, length))

    def _bind(self, step: Step, length: int) -> _Bound:
        graph, binding = self._graph, self._session.io_binding()
        inputs = {
            name: self._tensor(values.shape, values.dtype)
            for name, values in graph.inputs(step, length).items()
        }
        logits = self._tensor((1, len(step.wanted), graph.vocabulary_size), np.dtype(np.float32))
        binding.bind_ortvalue_output('logits', logits)
        new = self._bind_cache(binding, step, length)
        self.counts.bound += 1
        return _Bound(binding, self._options(WITHOUT), inputs, logits, new)

    def _bind_cache(self, binding: Any, step: Step, length: int) -> Any:
        """Binds keys and values of a slot; returns the tensor for new ones where the graph does not
        write them in place, else None.
        """
        cache, shape = self._cache, self._cache.shape
        sizes = [1, shape.kv_heads, length, shape.head_dim]
        for number, address in enumerate(cache.addresses(step.index)):
            name, place = past_name(number), (cache.device, 0, shape.dtype, sizes, address)
            binding.bind_input(f'past_{name}', *place)
            if self._graph.is_in_place:
                binding.bind_output(f'present_{name}', *place)
        if self._graph.is_in_place:
            return None
        rows = len(step.embeddings)
        new = self._tensor((shape.tensors, shape.kv_heads, rows, shape.head_dim), shape.dtype)
        binding.bind_ortvalue_output(NEW, new)
        return new

    def _tensor(self, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return self._library.OrtValue.ortvalue_from_shape_and_type(
            list(sizes), dtype, self._cache.device, 0
        )

    def _options(self, graph_id: str) -> Any:
        options = self._library.RunOptions()
        options.log_severity_level = QUIET
        if self._is_opened_for_capture:
            options.add_run_config_entry(GRAPH_ID, graph_id)
        return options
