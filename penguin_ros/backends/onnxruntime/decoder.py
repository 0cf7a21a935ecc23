# SPDX-License-Identifier: Apache-2.0
"""The LLM of a bundle in ONNX Runtime: embeddings go in, logits come out, keys and values stay in
the cache.

Two graphs do the same. `full` writes new keys and values into the cache itself: past and present
are bound to one buffer. `two_part` reads the cache and returns them, and they are copied here;
older versions of the library run no other. How a step is bound differs between a CPU (`host_steps`)
and a device (`device_steps`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from penguin_ros.backends.base.backend import BackendStats, Logits
from penguin_ros.backends.base.bundle import Bundle, rebuild
from penguin_ros.backends.base.manifest import DECODER, TWO_PART, GraphSpec
from penguin_ros.backends.base.slots import slots_within
from penguin_ros.backends.onnxruntime.cache import CacheShape, HostCache
from penguin_ros.backends.onnxruntime.device_cache import DeviceCache
from penguin_ros.backends.onnxruntime.device_steps import DeviceSteps
from penguin_ros.backends.onnxruntime.host_steps import HostSteps
from penguin_ros.backends.onnxruntime.library import running
from penguin_ros.backends.onnxruntime.session import (
    ACTIVATIONS,
    SessionMaker,
    require_activations,
    tensor_of,
)
from penguin_ros.backends.onnxruntime.steps import Step, StepGraph
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BundleMismatch


class OnnxDecoder:
    """One session, and the cache with `slots` slots of `max_length` positions."""

    def __init__(
        self, maker: SessionMaker, variant: str, config: ModelConfig, max_length: int
    ) -> None:
        bundle = maker.bundle
        spec = bundle.graph(DECODER, variant)
        require_activations(bundle, spec)
        _check_sizes(bundle, spec, variant)
        llm = bundle.shape.llm
        dtype = np.dtype(ACTIVATIONS[tensor_of(spec, 'inputs_embeds').dtype])
        graph = StepGraph(dtype, bundle.shape.vocabulary_size, variant != TWO_PART)
        shape = CacheShape(2 * llm.layers, llm.kv_heads, max_length, llm.head_dim, dtype)
        self.slots = slots_within(config, shape.slot_bytes)
        device = maker.placement.device
        self._is_even = spec.quantised > 0 and device == 'cpu'
        self.cache: HostCache | DeviceCache
        self.steps: HostSteps | DeviceSteps
        if device == 'cpu':
            self._open_on_host(maker, spec, shape, graph)
        else:
            self._open_on_device(maker, spec, shape, graph, device)

    def _open_on_host(
        self, maker: SessionMaker, spec: GraphSpec, shape: CacheShape, graph: StepGraph
    ) -> None:
        with running(_allocating(self.slots, shape)):
            self.cache = cache = HostCache(maker.library, shape, self.slots)
        self.steps = HostSteps(maker.library, maker.open(spec), cache, graph)

    def _open_on_device(
        self,
        maker: SessionMaker,
        spec: GraphSpec,
        shape: CacheShape,
        graph: StepGraph,
        device: str,
    ) -> None:
        with running(_allocating(self.slots, shape)):
            self.cache = cache = DeviceCache(maker.library, shape, self.slots, device)
        session, refusal = maker.open_for_capture(spec)
        can_capture = maker.placement.can_capture and not refusal
        self.steps = steps = DeviceSteps(maker.library, session, cache, graph, can_capture)
        if refusal:
            steps.refuse_capture(refusal)

    @property
    def launches(self) -> str:
        """How kernels are launched on a device, in words."""
        can_capture = isinstance(self.steps, DeviceSteps) and self.steps.can_capture
        return 'steps captured as graphs' if can_capture else 'kernels launched one by one'

    def stats(self) -> BackendStats:
        """Returns what is counted while steps run; on any thread."""
        return self.steps.stats()

    def append(self, step: Step) -> Logits:
        """Writes the rows of a step behind the positions of its slot; returns logits (len(wanted),
        vocabulary_size).

        On an error the slot holds what it held.
        """
        index, past, num_tokens = step.index, step.past, len(step.embeddings)
        given = self._evened(step)
        end = past + len(given.embeddings)
        if self.cache.reserve(index, past, end):
            self.steps.moved(index)
        try:
            with running('appending a chunk'):
                logits = self.steps.run(given)
        except BaseException:
            self.cache.spoil(index)
            self.cache.forget(index, past, end)
            raise
        if end > past + num_tokens:
            self.cache.forget(index, past + num_tokens, end)
        return logits

    def _evened(self, step: Step) -> Step:
        """Repeats the last row where there are several and their number is odd; the repetition is
        forgotten afterwards.

        ONNX Runtime multiplies packed weights with the last of an odd number of rows in another
        order of additions than with pairs of rows. The last bit then tips a rounding of
        activations, and a prompt cut elsewhere (by prefix caching) would differ visibly.
        """
        rows = len(step.embeddings)
        has_room = step.past + rows < self.cache.shape.max_length
        if not self._is_even or rows == 1 or rows % 2 == 0 or not has_room:
            return step
        return replace(
            step,
            embeddings=np.concatenate((step.embeddings, step.embeddings[-1:])),
            layout=None if step.layout is None else step.layout.with_last_again(),
        )

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        with running('copying a KV slot'):
            self.cache.copy(source, target, length)
        self.steps.moved(target)


def _allocating(slots: int, shape: CacheShape) -> str:
    return f'allocating {slots} KV slots of {shape.max_length} positions'


def _check_sizes(bundle: Bundle, spec: GraphSpec, variant: str) -> None:
    """Raises BundleMismatch unless the graph is that of the manifest's model."""
    llm = bundle.shape.llm
    past = (1, llm.kv_heads, 'length', llm.head_dim)
    expected: dict[str, tuple[int | str, ...]] = {
        'inputs_embeds': (1, 'rows', llm.hidden_size),
        'logits': (1, 'wanted', bundle.shape.vocabulary_size),
    }
    expected |= {
        f'past_{kind}_{layer}': past for layer in range(llm.layers) for kind in ('key', 'value')
    }
    found = {
        tensor.name: tensor.shape
        for tensor in (*spec.inputs, *spec.outputs)
        if tensor.name.startswith('past_') or tensor.name in expected
    }
    if found != expected:
        name = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )[0]
        raise BundleMismatch(
            f'{spec.file} of {bundle.path} does not fit the model in its manifest ({variant})',
            f'{name} is {found.get(name, "absent")} instead of {expected.get(name, "absent")}',
            rebuild(bundle.manifest, bundle.path),
        )
