# SPDX-License-Identifier: Apache-2.0
"""Steps of the LLM on a CPU: inputs and logits are bound where numpy has them, keys and values of a
slot once, until its cache lies elsewhere.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import BackendStats, Logits
from penguin_ros.backends.onnxruntime.cache import HostCache
from penguin_ros.backends.onnxruntime.session import QUIET
from penguin_ros.backends.onnxruntime.steps import NEW, Step, StepGraph, past_name


class HostSteps:
    """Runs `session` on the slots of `cache`."""

    def __init__(
        self, library: ModuleType, session: Any, cache: HostCache, graph: StepGraph
    ) -> None:
        self._library = library
        self._session = session
        self._cache = cache
        self._graph = graph
        self._options = library.RunOptions()
        self._options.log_severity_level = QUIET
        self._bindings: dict[int, Any] = {}

    def run(self, step: Step) -> Logits:
        """Runs one step, whose positions the cache has room for; returns logits (len(wanted),
        vocabulary_size).
        """
        binding, graph = self.binding(step.index), self._graph
        for name, values in graph.inputs(step, self._cache.length(step.index)).items():
            binding.bind_cpu_input(name, values)
        logits = np.empty((1, len(step.wanted), graph.vocabulary_size), np.float32)
        binding.bind_ortvalue_output('logits', self._library.OrtValue.ortvalue_from_numpy(logits))
        if not graph.is_in_place:
            binding.bind_output(NEW, 'cpu')
        self._session.run_with_iobinding(binding, self._options)
        if not graph.is_in_place:
            self._cache.write(step.index, step.past, binding.get_outputs()[1].numpy())
        chosen: Logits = logits[0]
        return chosen

    def moved(self, index: int) -> None:
        """Takes note that the tensors of a slot are others now."""
        self._bindings.pop(index, None)

    def stats(self) -> BackendStats:
        """Returns nothing: a CPU has one way."""
        return BackendStats()

    def binding(self, index: int) -> Any:
        """Returns the keys and values of a slot, bound as past and, where the graph writes in
        place, as present too.
        """
        if index not in self._bindings:
            binding = self._session.io_binding()
            for number, tensor in enumerate(self._cache.tensors(index)):
                name = past_name(number)
                binding.bind_ortvalue_input(f'past_{name}', tensor)
                if self._graph.is_in_place:
                    binding.bind_ortvalue_output(f'present_{name}', tensor)
            self._bindings[index] = binding
        return self._bindings[index]
