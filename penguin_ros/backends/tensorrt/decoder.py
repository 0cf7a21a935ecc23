# SPDX-License-Identifier: Apache-2.0
"""The LLM's engine on KV slots: runs, profiles, lengths in buckets, the two ways of keeping the
cache.

Engines that update the cache in place write keys and values into it themselves, at `write_indices`;
`two_part` engines read it and return the new ones, which are copied behind what it holds. Neither
reports a write past the end, so `append` refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import BackendStats, Chunk, GreedyToken, Logits
from penguin_ros.backends.base.embedding_table import EmbeddingTable
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.cuda.buffers import StridedRows
from penguin_ros.backends.cuda.chunks import EngineRun, FeatureRows, engine_runs
from penguin_ros.backends.tensorrt.cache import STEP, CacheShape, KvCache
from penguin_ros.backends.tensorrt.cuda_graphs import DecodePlace, GraphCache
from penguin_ros.backends.tensorrt.decoder_inputs import DecoderInputs, DecoderSizes
from penguin_ros.backends.tensorrt.engine import Context, Engine, Workspace
from penguin_ros.backends.tensorrt.kernel_steps import KernelSteps
from penguin_ros.backends.tensorrt.library import STORAGE
from penguin_ros.errors import BundleMismatch, CacheOverflow

RUNS_UNTIL_READY = 2
"""Steps of a length until its graph is there: one without, and one that captures."""


OpenKernels = Callable[[KvCache], KernelSteps]
"""Makes what decodes in own kernels on a cache."""


class Workspaces(NamedTuple):
    """The memory for intermediate values of `steps`, which CUDA graphs keep the address of, and of
    all other runs, which others share.
    """

    steps: Workspace
    shared: Workspace


class Decoder:
    """One opened engine with the caches of `slots` slots."""

    def __init__(
        self,
        engine: Engine,
        table: EmbeddingTable,
        max_length: int,
        slots: int,
        workspaces: Workspaces,
        kernels: OpenKernels | None = None,
    ) -> None:
        shape = cache_shape(engine, max_length)
        self._engine = engine
        self._device = engine.device
        self._workspaces = workspaces
        self.sizes = sizes = decoder_sizes(engine, shape.max_length)
        if sizes.is_in_place:
            _check_aliases(engine)
        self.graphs = GraphCache(self._device)
        self.cache = KvCache(
            self._device, shape, slots, not sizes.is_in_place, is_one_block=kernels is not None
        )
        self.kernels = kernels(self.cache) if kernels is not None else None
        self.greedy_steps = self.kernels.greedy_steps if self.kernels else 1
        self._inputs = DecoderInputs(self._device, sizes, table)
        self._said: DecoderInputs | KernelSteps = self._inputs
        new_bytes = shape.rows * sizes.max_tokens * shape.position_bytes
        self._new_kv = 0 if sizes.is_in_place else self._device.allocate(new_bytes)
        self._contexts: dict[int, Context] = {}
        self._place = DecodePlace(self.cache)
        self._ends = [0] * slots
        """By slot: the end of what was written last; nothing behind it is read."""

        self._unproven: dict[int, int] = {}
        """By slot: positions up to here may hold NaN or infinity; what lies behind is finite."""

    def warm_up(self) -> None:
        """Makes context and graph of every length, while nobody waits for an answer. Only slot 0 is
        written to, which must hold nothing.
        """
        if self.kernels is not None:
            self.kernels.warm_up()
            return
        step = Append(0, 0, Chunk(np.zeros(1, np.int64)), [0])
        for length in self.cache.shape.buckets()[: self.graphs.limit]:
            self._make_finite(0, 0, 1)
            self.cache.make_room(0, 0, length)
            self._inputs.fill(step, length, ())
            for _ in range(RUNS_UNTIL_READY):
                self.graphs.run(length, partial(self._ready_for_steps, step, length))
                self._device.synchronize()
        if math.isfinite(self._inputs.greedy(1)[0].logit):
            self._unproven.pop(0)
        self.graphs.count_from_now()

    def append(self, append: Append, features: Sequence[FeatureRows]) -> Logits:
        """Writes a chunk; returns logits (len(wanted), vocabulary)."""
        found: dict[int, NDArray[np.float32]] = {}
        for run in self._runs(append, features):
            found.update(zip(run.wanted, self._said.logits(len(run.wanted)), strict=True))
        last = found.get(append.num_tokens - 1)
        if last is not None and np.isfinite(last).all():
            self._unproven.pop(append.index)
        if not append.wanted:
            return np.zeros((0, self.sizes.vocabulary), np.float32)
        return np.stack([found[position] for position in append.wanted])

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Writes a chunk; returns what the device chose after each of the positions. The host does
        not look at the logits.
        """
        found: dict[int, GreedyToken] = {}
        for run in self._runs(append, features):
            found.update(zip(run.wanted, self._said.greedy(len(run.wanted)), strict=True))
        last = found.get(append.num_tokens - 1)
        if last is not None and math.isfinite(last.logit):
            self._unproven.pop(append.index)
        return [found[position] for position in append.wanted]

    def append_branches(self, append: Append) -> Logits:
        """Reads the rows of a tree, which one run takes, and zeroes what it wrote; returns logits
        (len(wanted), vocabulary).
        """
        index, past, end = append.index, append.past, append.past + append.num_tokens
        unproven = min(past, self._unproven.get(index, 0))
        found: dict[int, NDArray[np.float32]] = {}
        try:
            for run in self._runs(append, ()):
                found.update(zip(run.wanted, self._said.logits(len(run.wanted)), strict=True))
        finally:
            self._make_finite(index, past, end)  # zeroes what was written
            self._unproven[index] = unproven
            self._ends[index] = past
            self._device.synchronize()
        if not append.wanted:
            return np.zeros((0, self.sizes.vocabulary), np.float32)
        return np.stack([found[position] for position in append.wanted])

    def append_greedy_run(self, append: Append, count: int) -> list[GreedyToken] | None:
        """Writes `count` tokens, of which the kernels choose all but the first; returns what they
        chose after each. None without kernels, and for another number than they write at once.
        """
        if self.kernels is None or count not in (1, self.greedy_steps):
            return None
        index, past, end = append.index, append.past, append.past + count
        self._check_room(past, count)
        self._make_finite(index, past, end)
        self._make_room(index, past, end)
        self.kernels.run_greedy(append, count)
        self._ends[index] = end
        self._device.synchronize()
        tokens = self.kernels.greedy(count)
        if math.isfinite(tokens[-1].logit):
            self._unproven.pop(index)
        return tokens

    def stats(self) -> BackendStats:
        """Returns what became of decoding as CUDA graphs; on any thread."""
        return self.graphs.stats() if self.kernels is None else self.kernels.stats()

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of a slot to another."""
        self._make_finite(target, 0, min(length, self._unproven.get(source, 0)))
        self.cache.copy(source, target, length)
        self._ends[target] = length
        self._device.synchronize()

    def close(self) -> None:
        """Frees contexts and graphs; the memory belongs to the device."""
        self.graphs.close()
        if self.kernels is not None:
            self.kernels.close()
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()

    def _make_finite(self, index: int, past: int, end: int) -> None:
        """Is called before positions up to `end` are written after the first `past`: it zeroes what
        lies there and may not be finite.

        Masked positions count zero times their value. A run that failed, was abandoned or gave no
        finite logits may have left NaN or infinity there. Finite logits of a slot's last position
        prove all its positions finite: it saw each of them.
        """
        count = self._unproven.pop(index, 0) - past
        if count > 0:
            size = count * self.cache.shape.position_bytes
            self._device.zero_rows(self.cache.rows_from(index, past), size, self.cache.shape.rows)
        self._unproven[index] = end

    def _runs(self, append: Append, features: Sequence[FeatureRows]) -> Iterator[EngineRun]:
        """Writes a chunk in as many runs as it takes; after each its outputs can be read."""
        num_tokens, past = append.num_tokens, append.past
        self._check_room(past, num_tokens)
        self._make_finite(append.index, past, past + num_tokens)
        wanted = sorted(set(append.wanted))
        for run in engine_runs(num_tokens, wanted, self.sizes.max_tokens, self.sizes.max_wanted):
            inside = [part for rows in features if (part := rows.within(run.start, run.end))]
            # The engine takes at least one index; what it gives for it is not looked at when
            # nothing is wanted.
            indices = [position - run.start for position in run.wanted] or [run.end - run.start - 1]
            chunk = Chunk(append.chunk.token_ids[run.start : run.end])
            self._run(Append(append.index, past + run.start, chunk, indices, append.layout), inside)
            yield run

    def _check_room(self, past: int, count: int) -> None:
        if past + count > self.cache.shape.max_length:
            raise CacheOverflow(
                'a write past the end of the cache',
                f'{past} + {count} positions',
                'This is a defect; please report it',
            )

    def _make_room(self, index: int, past: int, end: int) -> None:
        pitch = self.cache.pitch(index)
        self.cache.make_room(index, past, end)
        if past and self.cache.pitch(index) != pitch:
            # Where rows lay before they moved apart, they still lie.
            self._unproven[index] = self.cache.pitch(index)

    def _run(self, part: Append, features: Sequence[FeatureRows]) -> None:
        cache, index, end = self.cache, part.index, part.past + part.num_tokens
        self._make_room(index, part.past, end)
        if self.kernels is not None and self.kernels.takes(part, features):
            self.kernels.run(part)
            self._said = self.kernels
            self._ends[index] = end
            self._device.synchronize()
            return
        self._said = self._inputs
        length = cache.shape.bucket(end) if self.sizes.is_in_place else cache.pitch(index)
        self._inputs.fill(part, length, features)
        self._ends[index] = end
        is_step = part.num_tokens == len(part.wanted) == 1
        if is_step and self.kernels is None and self._place.takes(index, self._extent):
            self.graphs.run(length, partial(self._ready_for_steps, part, length))
        else:
            self._ready(self._shared_context(part.num_tokens), part, length).enqueue()
        if not self.sizes.is_in_place:
            size = part.num_tokens * cache.shape.position_bytes
            self._device.copy_rows(
                cache.rows_from(index, part.past),
                StridedRows(self._new_kv, size),
                size,
                cache.shape.rows,
            )
        self._device.synchronize()

    def _extent(self, index: int) -> int:
        """Returns up to where a slot holds what matters: what it was asked to keep, and what must
        still be zeroed.
        """
        return max(self._ends[index], self._unproven.get(index, 0))

    def _shared_context(self, num_tokens: int) -> Context:
        """Returns the context that is made ready again for every run of its profile."""
        profile = self._engine.profile_for('inputs_embeds', 1, num_tokens)
        if profile not in self._contexts:
            self._contexts[profile] = self._context(num_tokens, self._workspaces.shared)
        return self._contexts[profile]

    def _ready_for_steps(self, part: Append, length: int) -> Context:
        """Returns a context of its own, which is left alone from then on."""
        context = self._context(1, self._workspaces.steps, is_captured=True)
        return self._ready(context, part, length)

    def _context(self, num_tokens: int, workspace: Workspace, is_captured: bool = False) -> Context:
        profile = self._engine.profile_for('inputs_embeds', 1, num_tokens)
        return Context(self._engine, profile, workspace, is_captured)

    def _ready(self, context: Context, part: Append, length: int) -> Context:
        addresses = self._inputs.addresses(part.num_tokens)
        shapes = self._inputs.shapes(length, part.num_tokens, len(part.wanted))
        for number, (past, present) in enumerate(cache_names(self._engine)):
            addresses[past] = self.cache.tensor(part.index, number)
            if self.sizes.is_in_place:
                addresses[present] = addresses[past]
            else:
                head_dim = self._engine.tensors[past].shape[3]
                shapes[past] = (1, self.cache.shape.heads, length, head_dim)
        if not self.sizes.is_in_place:
            addresses['new_kv'] = self._new_kv
        context.bind(addresses)
        context.reshape(shapes)
        return context


def cache_names(engine: Engine) -> Iterator[tuple[str, str]]:
    """Yields the input and the output of every tensor of the cache, in the order in which they
    lie.
    """
    for layer in range(sum(name.startswith('past_key_') for name in engine.tensors)):
        for kind in ('key', 'value'):
            yield f'past_{kind}_{layer}', f'present_{kind}_{layer}'


def cache_shape(engine: Engine, max_length: int) -> CacheShape:
    """Returns the shape of the cache that an engine works on, of the engine's own length where that
    is fixed.
    """
    keys = engine.tensors['past_key_0']
    length = keys.shape[2] if keys.shape[2] > 0 else -(-max_length // STEP) * STEP
    return CacheShape(
        len(list(cache_names(engine))),
        keys.shape[1],
        keys.shape[3] * STORAGE[keys.dtype].itemsize,
        length,
    )


def decoder_sizes(engine: Engine, max_length: int) -> DecoderSizes:
    """Returns what the engine takes and gives."""
    tensors = engine.tensors
    return DecoderSizes(
        hidden=tensors['inputs_embeds'].shape[2],
        vocabulary=tensors['logits'].shape[2],
        max_tokens=engine.largest('inputs_embeds', 1),
        max_wanted=engine.largest('logits_indices', 0),
        max_length=max_length,
        is_in_place='write_indices' in tensors,
        dtypes={name: tensor.dtype for name, tensor in tensors.items()},
    )


def _check_aliases(engine: Engine) -> None:
    for past, present in cache_names(engine):
        found = engine.aliased_input(present)
        if found != past:
            raise BundleMismatch(
                f'{engine.name} does not update its cache in place',
                f'{present} shares memory with {found or "no input"}',
                'Build the engines again with --variant two_part',
            )
