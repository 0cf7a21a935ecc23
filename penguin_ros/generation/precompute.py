# SPDX-License-Identifier: Apache-2.0
"""Work done before anybody asks for it: frames encoded, the part of a prompt that others share
computed. Knows no text.

Generators with a yield after every step, for a job of idle time; ending one at any yield keeps what
is finished.
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
    """Has the features of `frames` kept; yields after every slice. Returns how many it encoded.

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
    """Computes the prompt up to its last visual token and has it kept; yields after every slice and
    chunk.

    Holds no slot while it rests, so that it keeps none from a request: it ends early when another
    prompt took its slot. Returns how many positions it computed. PromptTooLong; NoFreeSlot when
    requests hold all slots, after the encode.
    """
    max_new_tokens_of(caches.backend, inputs)
    keys, end, features = prompt_keys(inputs), visual_end(inputs), list[Features | None]()
    try:
        begin = caches.prefix_cache.held(keys)
        yield from caches.encoder.encode(needed_frames(inputs, (begin, end)), features)
        if caches.prefix_cache.held(keys) < begin or begin >= end:
            return 0
        slot = caches.prefix_cache.acquire(keys, end)
        chunks = list(prompt_chunks(inputs, features, prefill_chunk, (slot.length, end)))[::-1]
    finally:
        features.clear()
    return (yield from _prefilled(caches.prefix_cache, slot, keys, chunks))


def _prefilled(
    prefixes: PrefixCache, slot: KVSlot, keys: PrefixKeys, chunks: list[Chunk]
) -> Generator[None, None, int]:
    """Appends `chunks`, the last one first, to a slot that it releases, while it rests too."""
    begin, computed, is_held = slot.length, 0, True
    try:
        while chunks:
            slot.forward(chunks.pop())
            prefixes.release(slot)
            is_held = False
            computed = slot.length - begin
            yield
            is_held = bool(chunks) and prefixes.retake(slot, keys)
            if not is_held:
                break
        return computed
    finally:
        chunks.clear()
        if is_held:
            prefixes.release(slot)
