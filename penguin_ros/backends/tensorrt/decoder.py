# SPDX-License-Identifier: Apache-2.0
"""The LLM's engine on KV slots: runs, profiles, lengths in buckets, the two ways of keeping the
cache. Knows no slot numbers.

`window` engines write keys and values into the cache themselves, at `write_indices`; `two_part`
engines read it and return the new ones, which are copied behind what it holds. Neither reports a
write past the end, so `append` refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.backends.base.embedding_table import EmbeddingTable
from penguin_ros.backends.tensorrt.buffers import StridedRows
from penguin_ros.backends.tensorrt.cache import STEP, CacheShape, KvCache
from penguin_ros.backends.tensorrt.chunks import Rows, Run, runs
from penguin_ros.backends.tensorrt.cuda_graphs import GraphCache
from penguin_ros.backends.tensorrt.decoder_inputs import DecoderInputs, DecoderSizes
from penguin_ros.backends.tensorrt.engine import Context, Engine, Workspace
from penguin_ros.backends.tensorrt.library import STORAGE
from penguin_ros.errors import BundleMismatch, CacheOverflow


class Decoder:
    """One opened engine with the caches of `places` slots."""

    def __init__(
        self,
        engine: Engine,
        table: EmbeddingTable,
        max_length: int,
        places: int,
        workspace: Workspace,
    ) -> None:
        self._engine, self._device, self._workspace = engine, engine.device, workspace
        shape = cache_shape(engine, max_length)
        sizes = decoder_sizes(engine, shape.max_length)
        if sizes.is_in_place:
            _check_aliases(engine)
        self.sizes, self.graphs = sizes, GraphCache(self._device)
        self.cache = KvCache(self._device, shape, places, can_grow=not sizes.is_in_place)
        self._inputs = DecoderInputs(self._device, sizes, table)
        new_bytes = self.cache.shape.rows * sizes.max_rows * self.cache.shape.position_bytes
        self._new_kv = 0 if sizes.is_in_place else self._device.allocate(new_bytes)
        self._contexts: dict[int, Context] = {}
        self._unproven: dict[int, int] = {}
        """By place: positions up to here may hold NaN or infinity; what lies behind is finite."""

    def append(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        rows: Sequence[Rows],
        wanted: Sequence[int],
    ) -> Logits:
        """Appends positions to the `past` that a slot holds; logits (len(wanted), vocabulary) of
        those asked for.
        """
        found: dict[int, NDArray[np.float32]] = {}
        for run in self._runs(place, past, token_ids, rows, sorted(set(wanted))):
            found.update(zip(run.wanted, self._inputs.logits(len(run.wanted)), strict=True))
        if len(token_ids) - 1 in found and np.isfinite(found[len(token_ids) - 1]).all():
            self._unproven.pop(place)
        return (
            np.stack([found[index] for index in wanted])
            if wanted
            else np.zeros((0, self.sizes.vocabulary), np.float32)
        )

    def append_greedy(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        rows: Sequence[Rows],
        wanted: Sequence[int],
    ) -> list[GreedyToken]:
        """The same, and what the device chose after each of the positions; no logits are looked at."""
        found: dict[int, GreedyToken] = {}
        for run in self._runs(place, past, token_ids, rows, sorted(set(wanted))):
            found.update(zip(run.wanted, self._inputs.best(len(run.wanted)), strict=True))
        if len(token_ids) - 1 in found and math.isfinite(found[len(token_ids) - 1].logit):
            self._unproven.pop(place)
        return [found[index] for index in wanted]

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of a slot into another."""
        self._make_finite(target, 0, min(length, self._unproven.get(source, 0)))
        self.cache.copy(source, target, length)
        self._device.synchronize()

    def close(self) -> None:
        """Lets go of contexts and graphs; the memory belongs to the device."""
        self.graphs.close()
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()

    def _make_finite(self, place: int, past: int, end: int) -> None:
        """Before positions up to `end` are written after the first `past`: zeroes what lies there
        and may not be finite.

        Masked positions count zero times their value. A run that failed, was abandoned or gave no
        finite logits may have left NaN or infinity there. Finite logits of a slot's last position
        prove all its positions finite: it saw each of them.
        """
        count = self._unproven.pop(place, 0) - past
        if count > 0:
            size = count * self.cache.shape.position_bytes
            self._device.zero_rows(self.cache.rows_from(place, past), size, self.cache.shape.rows)
        self._unproven[place] = end

    def _runs(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        rows: Sequence[Rows],
        wanted: Sequence[int],
    ) -> Iterator[Run]:
        """Appends in as many runs as it takes; after each its outputs can be read."""
        if past + len(token_ids) > self.cache.shape.max_length:
            raise CacheOverflow(
                'a write past the end of the cache',
                f'{past} + {len(token_ids)} positions',
                'This is a defect; please report it',
            )
        self._make_finite(place, past, past + len(token_ids))
        for run in runs(len(token_ids), wanted, self.sizes.max_rows, self.sizes.max_wanted):
            inside = [part for span in rows if (part := span.within(run.start, run.end))]
            # The engine takes at least one index; what it gives for it is not looked at when
            # nothing is wanted.
            indices = [index - run.start for index in run.wanted] or [run.end - run.start - 1]
            self._run(place, past + run.start, token_ids[run.start : run.end], inside, indices)
            yield run

    def _run(
        self,
        place: int,
        past: int,
        token_ids: NDArray[np.int64],
        rows: Sequence[Rows],
        wanted: Sequence[int],
    ) -> None:
        count, cache, pitch = len(token_ids), self.cache, self.cache.pitch(place)
        cache.make_room(place, past, past + count)
        if past and cache.pitch(place) != pitch:
            self._unproven[place] = cache.pitch(
                place
            )  # where rows lay before they moved apart, they still lie
        length = cache.shape.bucket(past + count) if self.sizes.is_in_place else cache.pitch(place)
        self._inputs.fill(past, length, token_ids, rows, wanted)
        if count == len(wanted) == 1:
            self.graphs.run(
                (place, length), lambda: self._ready(self._context(1), place, length, 1, 1)
            )
        else:
            self._ready(self._shared_context(count), place, length, count, len(wanted)).enqueue()
        if not self.sizes.is_in_place:
            size = count * cache.shape.position_bytes
            self._device.copy_rows(
                cache.rows_from(place, past),
                StridedRows(self._new_kv, size),
                size,
                cache.shape.rows,
            )
        self._device.synchronize()

    def _shared_context(self, count: int) -> Context:
        """The one that is made ready anew for every run of its profile."""
        profile = self._engine.profile_for('inputs_embeds', 1, count)
        if profile not in self._contexts:
            self._contexts[profile] = self._context(count)
        return self._contexts[profile]

    def _context(self, count: int) -> Context:
        return Context(
            self._engine, self._engine.profile_for('inputs_embeds', 1, count), self._workspace
        )

    def _ready(self, context: Context, place: int, length: int, count: int, wanted: int) -> Context:
        addresses, shapes = self._inputs.addresses(), self._inputs.shapes(length, count, wanted)
        for index, (past, present) in enumerate(cache_names(self._engine)):
            addresses[past] = self.cache.tensor(place, index)
            if self.sizes.is_in_place:
                addresses[present] = addresses[past]
            else:
                shapes[past] = (
                    1,
                    self.cache.shape.heads,
                    length,
                    self._engine.tensors[past].shape[3],
                )
        if not self.sizes.is_in_place:
            addresses['new_kv'] = self._new_kv
        context.bind(addresses)
        context.reshape(shapes)
        return context


def cache_names(engine: Engine) -> Iterator[tuple[str, str]]:
    """Input and output of every tensor of the cache, in the order in which they lie."""
    for layer in range(sum(name.startswith('past_key_') for name in engine.tensors)):
        for kind in ('key', 'value'):
            yield f'past_{kind}_{layer}', f'present_{kind}_{layer}'


def cache_shape(engine: Engine, max_length: int) -> CacheShape:
    """The cache that an engine works on: of the engine's own length where that is fixed."""
    keys = engine.tensors['past_key_0']
    length = keys.shape[2] if keys.shape[2] > 0 else -(-max_length // STEP) * STEP
    return CacheShape(
        len(list(cache_names(engine))),
        keys.shape[1],
        keys.shape[3] * STORAGE[keys.dtype].itemsize,
        length,
    )


def decoder_sizes(engine: Engine, max_length: int) -> DecoderSizes:
    """What the engine takes and gives."""
    tensors = engine.tensors
    return DecoderSizes(
        tensors['inputs_embeds'].shape[2],
        tensors['logits'].shape[2],
        engine.largest('inputs_embeds', 1),
        engine.largest('logits_indices', 0),
        max_length,
        'write_indices' in tensors,
        {name: facts.dtype for name, facts in tensors.items()},
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
