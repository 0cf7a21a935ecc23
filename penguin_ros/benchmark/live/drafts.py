# SPDX-License-Identifier: Apache-2.0
"""What drafting saves: what passes over several positions cost on one model, and the texts of
another model drafted at that cost.

Random weights repeat themselves, so their texts prove nothing about drafts; the cost of a pass does
not depend on the weights. So the texts of the default model are generated again with the drafts
that would be chosen at the costs of the model at hand.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from penguin_ros.backends.base.backend import Chunk, Features
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.evaluation.agreement import parting
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.generate import leased_slot
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.generation.speculative.drafter import Drafter
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import run_to_end

PASS_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of positions of a pass: one token and up to fifteen drafted ones."""

REPEATS = 5
CAPTION_KEY = 'caption'


def pass_seconds(
    forward: Callable[[Chunk, range], object],
    undo: Callable[[], object],
    vocabulary_size: int,
    sizes: Sequence[int] = PASS_SIZES,
    repeats: int = REPEATS,
) -> dict[int, list[float]]:
    """Times greedy passes over random tokens; returns the seconds of each pass by its size.

    `forward` computes a chunk and the greedy token behind each of its positions, in a slot that
    holds the tokens before; `undo` takes the chunk back, as decoding does with a wrong draft, and
    is not counted. The sizes take turns, and a first round, which pays for memory, is not counted.
    """
    random = np.random.default_rng(0)
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(repeats + 1):
        for size, seconds in times.items():
            chunk = Chunk(random.integers(0, vocabulary_size, size))
            start = time.perf_counter()
            forward(chunk, range(-size, 0))
            if number:
                seconds.append(time.perf_counter() - start)
            undo()
    return times


def pass_costs(caches: Caches, inputs: ModelInputs) -> dict[int, float]:
    """The median seconds of a greedy pass by its size, behind a prompt of which most is kept."""
    features: list[Features | None] = []
    with leased_slot(caches, inputs) as slot:
        part = (slot.length, len(inputs.prompt.token_ids))
        run_to_end(caches.encoder.encode(needed_frames(inputs, part), features))
        for chunk in prompt_chunks(inputs, features, 256, part):
            slot.forward(chunk)
        held = slot.length
        times = pass_seconds(
            slot.forward_greedy_each,
            lambda: slot.truncate(held),
            caches.backend.description.vocabulary_size,
        )
    return {size: float(np.median(each)) for size, each in times.items()}


def replayed(
    texts: Sequence[JsonObject], pass_s: Mapping[str, float], draft_tokens: int
) -> JsonObject:
    """The decode time of texts with drafts over that without, at the costs `pass_s` of a pass by
    its size.

    Each text has `prompt_ids`, `ids` and `stop_ids`; they come in the order in which they were made
    of one prompt. Returns the `ratio` of all together and the `worst_ratio` of any one text.
    """
    memory = DraftHistory()
    costs = {int(size): seconds for size, seconds in pass_s.items()}
    spent = [_drafted(text, memory, costs, draft_tokens) for text in texts]
    plain_s = [(len(text['ids']) - 1) * costs[1] for text in texts]
    ratios = [ours / plain for (ours, _), plain in zip(spent, plain_s, strict=True) if plain]
    tokens = sum(len(text['ids']) for text in texts)
    return {
        'texts': len(texts),
        'tokens': tokens,
        'passes_per_token': sum(passes for _, passes in spent) / max(tokens, 1),
        'ratio': sum(ours for ours, _ in spent) / sum(plain_s) if sum(plain_s) else None,
        'worst_ratio': max(ratios, default=None),
    }


def _drafted(
    text: JsonObject, memory: DraftHistory, costs: Mapping[int, float], draft_tokens: int
) -> tuple[float, int]:
    """The seconds of the decode of one text, and its passes with the one of the first token."""
    ids = text['ids']
    record = memory.for_prompt(CAPTION_KEY)
    drafter = Drafter(record, text['prompt_ids'], text['stop_ids'], draft_tokens)
    drafter.add(ids[:1])
    done, spent_s, passes = 1, 0.0, 1
    while done < len(ids):
        draft = drafter.draft(len(ids) - done)
        taken = min(parting(draft, ids[done:], ()).shared + 1, len(ids) - done)
        pass_s = interpolated(costs, 1 + len(draft))
        spent_s += pass_s
        passes += 1
        drafter.note_pass(1 + len(draft), round(pass_s * 1e9))
        drafter.add(ids[done : done + taken])
        done += taken
    record.keep(ids, is_complete=True)
    return spent_s, passes


def interpolated(costs: Mapping[int, float], size: int) -> float:
    """The cost of a pass of any size: in proportion between the sizes that were measured; beyond
    the largest, its cost per position.
    """
    sizes = sorted(costs)
    index = bisect_left(sizes, size)
    if index == len(sizes):
        return costs[sizes[-1]] * size / sizes[-1]
    if sizes[index] == size or not index:
        return costs[sizes[index]]
    low, high = sizes[index - 1], sizes[index]
    return costs[low] + (size - low) / (high - low) * (costs[high] - costs[low])
