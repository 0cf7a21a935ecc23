# SPDX-License-Identifier: Apache-2.0
"""The LLM of a bundle in ONNX Runtime: embeddings go in, logits come out, keys and values stay in
the cache.

Two graphs do the same. `full` writes new keys and values into the cache itself: past and present
are bound to one buffer. `two_part` reads the cache and returns them, and they are copied here;
older versions of the library run no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Logits
from penguin_ros.backends.base.bundle import Bundle, rebuild
from penguin_ros.backends.base.manifest import DECODER, TWO_PART, GraphSpec
from penguin_ros.backends.base.slots import slots_within
from penguin_ros.backends.onnxruntime.cache import CacheShape, DeviceCache, HostCache
from penguin_ros.backends.onnxruntime.library import running
from penguin_ros.backends.onnxruntime.session import (
    ACTIVATIONS,
    QUIET,
    SessionMaker,
    require_activations,
    tensor_of,
)
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BundleMismatch

NEW = 'new_kv'


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
        self._dtype = np.dtype(ACTIVATIONS[tensor_of(spec, 'inputs_embeds').dtype])
        self._is_in_place = variant != TWO_PART
        self._vocabulary_size = bundle.shape.vocabulary_size
        self._library = maker.library
        self._device = maker.placement.device
        shape = CacheShape(2 * llm.layers, llm.kv_heads, max_length, llm.head_dim, self._dtype)
        self.slots = slots = slots_within(config, shape.slot_bytes)
        with running(f'allocating {slots} KV slots of {max_length} positions'):
            self.cache: HostCache | DeviceCache = (
                HostCache(maker.library, shape, slots)
                if self._device == 'cpu'
                else DeviceCache(maker.library, shape, slots, self._device)
            )
        self._session = maker.open(spec)
        self._options = maker.library.RunOptions()
        self._options.log_severity_level = QUIET
        self._bindings: dict[int, Any] = {}
        self._is_even = spec.quantised > 0 and self._device == 'cpu'

    def append(
        self, index: int, past: int, embeddings: NDArray[np.float32], wanted: Sequence[int]
    ) -> Logits:
        """Writes `embeddings` (tokens, hidden_size) behind the `past` positions of a slot; returns
        logits (len(wanted), vocabulary_size).

        On an error the slot holds what it held.
        """
        num_tokens, given = len(embeddings), self._evened(past, embeddings)
        if self.cache.reserve(index, past, past + len(given)):
            self._bindings.pop(index, None)
        try:
            with running('appending a chunk'):
                logits = self._run(index, past, given, wanted)
        except BaseException:
            self.cache.forget(index, past, past + len(given))
            raise
        if len(given) > num_tokens:
            self.cache.forget(index, past + num_tokens, past + len(given))
        return logits

    def _evened(self, past: int, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Repeats the last row where there are several and their number is odd; the repetition is
        forgotten afterwards.

        ONNX Runtime multiplies packed weights with the last of an odd number of rows in another
        order of additions than with pairs of rows. The last bit then tips a rounding of
        activations, and a prompt cut elsewhere (by prefix caching) would differ visibly.
        """
        rows = len(embeddings)
        has_room = past + rows < self.cache.shape.max_length
        if not self._is_even or rows == 1 or rows % 2 == 0 or not has_room:
            return embeddings
        return np.concatenate((embeddings, embeddings[-1:]))

    def _run(
        self, index: int, past: int, embeddings: NDArray[np.float32], wanted: Sequence[int]
    ) -> Logits:
        num_tokens, binding = len(embeddings), self._binding(index)
        inputs = {
            'inputs_embeds': embeddings.astype(self._dtype, copy=False)[None],
            'position_ids': np.arange(past, past + num_tokens, dtype=np.int64)[None],
            'logits_indices': np.array(wanted, np.int64),
            'attention_mask': self._mask(index, past, num_tokens),
        }
        if self._is_in_place:
            inputs['write_indices'] = np.array([past], np.int64)
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        logits = np.empty((1, len(wanted), self._vocabulary_size), np.float32)
        binding.bind_ortvalue_output('logits', self._library.OrtValue.ortvalue_from_numpy(logits))
        if not self._is_in_place:
            binding.bind_output(NEW, 'cpu')
        self._session.run_with_iobinding(binding, self._options)
        if not self._is_in_place:
            self.cache.write(index, past, binding.get_outputs()[1].numpy())
        chosen: Logits = logits[0]
        return chosen

    def _mask(self, index: int, past: int, num_tokens: int) -> NDArray[np.bool_]:
        """Returns the mask by which token i sees the positions up to its own: (1, 1, tokens,
        length), and for two_part the cache first, then the new positions.
        """
        length, own = self.cache.length(index), np.arange(num_tokens)[:, None]
        if self._is_in_place:
            return (np.arange(length) <= past + own)[None, None]
        cached = np.broadcast_to(np.arange(length) < past, (num_tokens, length))
        return np.concatenate((cached, np.arange(num_tokens) <= own), 1)[None, None]

    def _binding(self, index: int) -> Any:
        """Returns the keys and values of a slot, bound as past and, where the graph writes in
        index, as present too.
        """
        if index not in self._bindings:
            binding = self._session.io_binding()
            for number, tensor in enumerate(self.cache.tensors(index)):
                name = f'{"value" if number % 2 else "key"}_{number // 2}'
                binding.bind_ortvalue_input(f'past_{name}', tensor)
                if self._is_in_place:
                    binding.bind_ortvalue_output(f'present_{name}', tensor)
            self._bindings[index] = binding
        return self._bindings[index]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        with running('copying a KV slot'):
            self.cache.copy(source, target, length)
        self._bindings.pop(target, None)


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
            rebuild(bundle.manifest),
        )
