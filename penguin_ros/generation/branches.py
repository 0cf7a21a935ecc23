# SPDX-License-Identifier: Apache-2.0
"""Reads how probable given tokens are behind several prompts that show the same frames: the shared
prefix is encoded and prefilled once, and the rest of all prompts is read as branches of it.

Nothing is sampled. The prompts are cut into prefix and rest as token ids, never as text, so that
each branch has exactly the tokens of its prompt asked alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Branch, Features, Logits
from penguin_ros.backends.base.token_tree import branch_groups
from penguin_ros.errors import InvalidLogits, InvalidRequest
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.generate import emptied_at_end, max_new_tokens_of
from penguin_ros.generation.kv_slot import (
    KVSlot,
    prompt_keys,
    shared_prefix_length,
    visual_end,
)
from penguin_ros.generation.sampler import invalid_logits
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import GenerationStats

Context = tuple[int, ...]
"""Token ids that follow a prompt; () is the prompt itself."""

Wanted = Mapping[Context, Sequence[int]]
"""For each context the token ids whose log probability behind it is asked for."""

LogProbabilities = dict[Context, NDArray[np.float64]]
"""For each context the natural logarithms of the probabilities of the tokens wanted, in order."""

WORTH_PREFILLING = 64
"""Text behind the last frame that all prompts share goes into the prefix from so many tokens on;
less of it costs nothing as the stem of the branches, and keeps the slot as captions use it.
"""

MOST_LOGITS = 64
"""Rows with logits of one step, which are in memory together."""


@dataclass(frozen=True, eq=False)
class BranchQuery:
    """A prompt, and what is asked behind it."""

    inputs: ModelInputs
    wanted: Wanted


def read_branches(
    caches: Caches,
    queries: Sequence[BranchQuery],
    prefill_chunk: int,
    stats: GenerationStats | None = None,
) -> Generator[None, None, list[LogProbabilities]]:
    """Returns what each query asks for, in order; every yield is one step: a slice of the encode, a
    prefill chunk, or a pass over at most `prefill_chunk` tokens of branches.

    All prompts show the same frames. What the caches hold is not computed again, and the shared
    prefix is kept for later. PromptTooLong before any work, NoFreeSlot, InvalidLogits, and what the
    backend raises. Ending it at a yield leaves nothing behind but finished work.
    """
    if not queries:
        return []
    for query in queries:
        max_new_tokens_of(caches.backend, query.inputs)
    prefix = shared_prefix([query.inputs for query in queries])
    with leased_prefix(caches, queries[0].inputs, prefix) as slot:
        if stats is not None:
            stats.prompt_tokens = prefix
            stats.visual_tokens = queries[0].inputs.visual_tokens
            stats.reused_tokens = slot.length
        yield from _prefill(caches, slot, queries[0].inputs, prefix, prefill_chunk)
        return (yield from _read(slot, queries, prefix, prefill_chunk, stats))


def shared_prefix(prompts: Sequence[ModelInputs]) -> int:
    """Returns how many first positions of all prompts are computed once: those up to the last
    visual token, and text behind it where all share a good deal of it. InvalidRequest when the
    prompts show other frames.
    """
    keys = [prompt_keys(inputs) for inputs in prompts]
    shown = visual_end(prompts[0])
    common = min(shared_prefix_length(each, keys[0]) for each in keys)
    if common < shown or any(visual_end(inputs) != shown for inputs in prompts):
        raise InvalidRequest('the prompts show different frames', 'branches share one clip')
    text = min(common, min(map(len, keys)) - 2)
    return text if text - shown >= WORTH_PREFILLING else shown


@contextmanager
def leased_prefix(caches: Caches, inputs: ModelInputs, prefix: int) -> Iterator[KVSlot]:
    """Gives a slot that holds a part of the first `prefix` positions of a prompt, and no more. At
    the end it is kept for the next prompt, or freed.
    """
    # With two more keys the cache finds a slot that holds the whole prefix, and leaves it whole.
    keys = prompt_keys(inputs)[: prefix + 2]
    lasting = min(inputs.lasting_tokens, prefix)
    slot = caches.prefix_cache.acquire(
        keys, max(visual_end(inputs), lasting), is_lasting=lasting > 0
    )
    try:
        slot.truncate(min(slot.length, prefix))
        yield slot
    except InvalidLogits:
        slot.is_sound = False
        caches.distrust(frame.key for frame in inputs.frames)
        raise
    finally:
        caches.prefix_cache.release(slot)


def _prefill(
    caches: Caches, slot: KVSlot, inputs: ModelInputs, prefix: int, size: int
) -> Generator[None, None, None]:
    """Brings the slot to hold the prefix."""
    part = (slot.length, prefix)
    with emptied_at_end() as features:
        yield from _encode(caches, inputs, part, features)
        chunks = list(prompt_chunks(inputs, features, size, part))[::-1] if prefix > part[0] else []
    try:
        while chunks:
            slot.forward(chunks.pop())
            yield
    finally:
        chunks.clear()


def _encode(
    caches: Caches, inputs: ModelInputs, part: tuple[int, int], features: list[Features | None]
) -> Generator[None, None, None]:
    yield from caches.encoder.encode(needed_frames(inputs, part), features)


def _read(
    slot: KVSlot,
    queries: Sequence[BranchQuery],
    prefix: int,
    size: int,
    stats: GenerationStats | None,
) -> Generator[None, None, list[LogProbabilities]]:
    found: list[LogProbabilities] = [{} for _ in queries]
    asked = [
        _Asked(number, branch, contexts)
        for number, query in enumerate(queries)
        for branch, contexts in _branches(query, prefix)
    ]
    start = 0
    for group in branch_groups([each.branch for each in asked], size, MOST_LOGITS):
        for each, logits in zip(
            asked[start : start + len(group)], slot.forward_branches(group), strict=True
        ):
            wanted = queries[each.query].wanted
            for context, row in zip(each.contexts, logits, strict=True):
                found[each.query][context] = log_probabilities(row, wanted[context])
        start += len(group)
        if stats is not None:
            stats.forward_passes += 1
        yield
    return found


@dataclass(frozen=True, eq=False)
class _Asked:
    """A branch of the query with that number; the rows that it gives are those of `contexts`."""

    query: int
    branch: Branch
    contexts: Sequence[Context]


def _branches(query: BranchQuery, prefix: int) -> Iterator[tuple[Branch, list[Context]]]:
    """Yields the fewest branches that show every context once: one for each that no other one goes
    on from.
    """
    rest = query.inputs.prompt.token_ids[prefix:].tolist()
    left = dict.fromkeys(query.wanted)
    for leaf in _leaves(query.wanted):
        contexts = [leaf[:length] for length in range(len(leaf) + 1) if leaf[:length] in left]
        for context in contexts:
            del left[context]
        places = tuple(len(rest) - 1 + len(context) for context in contexts)
        yield Branch(np.array([*rest, *leaf], np.int64), places), contexts


def _leaves(contexts: Wanted) -> Iterator[Context]:
    """Yields the contexts that are no beginning of another one."""
    ordered = sorted(contexts)
    for context, after in zip(ordered, [*ordered[1:], ()], strict=True):
        if after[: len(context)] != context or not after:
            yield context


def log_probabilities(row: Logits, token_ids: Sequence[int]) -> NDArray[np.float64]:
    """Returns the natural logarithms of the probabilities of some tokens from logits
    (vocabulary_size,); InvalidLogits when one is NaN or infinite.
    """
    largest = row.max()
    weights = np.exp(row - largest)
    total = float(weights.sum(dtype=np.float64))
    if not np.isfinite(total) or not np.isfinite(row.min()):
        raise invalid_logits('the network returned logits that are NaN or infinite')
    wide: NDArray[np.float64] = row[list(token_ids)].astype(np.float64)
    found: NDArray[np.float64] = wide - float(largest) - np.log(total)
    return found
