# SPDX-License-Identifier: Apache-2.0
"""Computes before anybody asks: encodes frames, and prefills the prefix that later prompts share.

Both functions are generators with a yield after every step, for background work on the worker
thread. Ending one at any yield keeps what is finished.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from penguin_ros.backends.base.backend import Chunk, Features
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.generate import max_new_tokens_of
from penguin_ros.generation.kv_slot import KVSlot, PrefixKeys, prompt_keys, visual_end
from penguin_ros.generation.prefix_cache import PrefixCache
from penguin_ros.model_inputs import FramePatches, ModelInputs


def precompute_features(
    caches: Caches, frames: Sequence[FramePatches]
) -> Generator[None, None, int]:
    """Encodes `frames` into the encoder cache; yields after every slice. Returns how many frames it
    encoded.

    A request that needs such a frame meanwhile goes on with the half-done encode.
    """
    encoded = 0
    for frame in frames:
        if not caches.encoder_cache.has(frame.key):
            features: list[Features | None] = []
            try:
                encoded += yield from caches.encoder.encode([frame], features)
            finally:
                features.clear()
    return encoded


def precompute_prefix(
    caches: Caches, inputs: ModelInputs, prefill_chunk: int
) -> Generator[None, None, int]:
    """Computes the prompt up to its last visual token into the prefix cache; yields after every
    slice and chunk.

    It holds no slot at a yield, so that it keeps none from a request, and it ends early when
    another prompt has taken its slot. Returns how many positions it computed. PromptTooLong before
    any work; NoFreeSlot after the encode, when requests hold all slots.
    """
    max_new_tokens_of(caches.backend, inputs)
    keys = prompt_keys(inputs)
    end = visual_end(inputs)
    features: list[Features | None] = []
    try:
        begin = caches.prefix_cache.held(keys)
        yield from caches.encoder.encode(needed_frames(inputs, (begin, end)), features)
        if caches.prefix_cache.held(keys) < begin or begin >= end:
            return 0
        slot = caches.prefix_cache.acquire(keys, end)
        chunks = list(prompt_chunks(inputs, features, prefill_chunk, (slot.length, end)))[::-1]
    finally:
        features.clear()
    return (yield from _prefill(caches.prefix_cache, slot, keys, chunks))


def _prefill(
    prefix_cache: PrefixCache, slot: KVSlot, keys: PrefixKeys, chunks: list[Chunk]
) -> Generator[None, None, int]:
    """Appends `chunks`, the last one first, to a slot that it releases at every yield and at the
    end.
    """
    begin = slot.length
    computed = 0
    is_held = True
    try:
        while chunks:
            slot.forward(chunks.pop())
            prefix_cache.release(slot)
            is_held = False
            computed = slot.length - begin
            yield
            is_held = bool(chunks) and prefix_cache.retake(slot, keys)
            if not is_held:
                break
        return computed
    finally:
        chunks.clear()
        if is_held:
            prefix_cache.release(slot)
