# SPDX-License-Identifier: Apache-2.0
"""What drafting saves: what passes over several positions cost on one model, and the texts of
another drafted at that cost.

Random weights loop, so that their texts prove nothing about drafts; the cost of a pass does not
depend on the weights. So the texts of the default model are generated again with the drafts that
would be chosen at the costs of the model at hand.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from penguin_ros.backends.base.backend import Chunk, Features
from penguin_ros.benchmark.live.tasks import Record
from penguin_ros.evaluation.agreement import common
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.generate import leased_slot
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.generation.speculative.drafter import Drafter
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import run_to_end

ROWS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Positions of a pass: one token and up to fifteen drafted ones."""

REPEATS = 5
CAPTION_KEY = 'caption'


def pass_costs(reuse: Caches, inputs: ModelInputs) -> dict[int, float]:
    """Seconds of a greedy pass by its positions, behind a prompt of which most is kept; medians."""
    random, vocabulary = np.random.default_rng(0), reuse.backend.description.vocabulary_size
    features: list[Features | None] = []
    with leased_slot(reuse, inputs) as slot:
        part = (slot.length, len(inputs.prompt.token_ids))
        run_to_end(reuse.encoder.encode(needed_frames(inputs, part), features))
        for chunk in prompt_chunks(inputs, features, 256, part):
            slot.forward(chunk)
        held, times = slot.length, {rows: list[float]() for rows in ROWS}
        for _ in range(REPEATS):
            for rows in ROWS:
                chunk = Chunk(random.integers(0, vocabulary, rows))
                start = time.perf_counter()
                slot.forward_greedy_each(chunk, range(-rows, 0))
                times[rows].append(time.perf_counter() - start)
                slot.truncate(held)
    return {rows: float(np.median(each)) for rows, each in times.items()}


def replayed(texts: Sequence[Record], pass_s: Mapping[str, float], draft_tokens: int) -> Record:
    """The decode time of texts, one after the other, with drafts over without, at the costs
    `pass_s` by positions.

    A text: `prompt_ids`, `ids`, `stop_ids`, in the order in which they were made of one prompt.
    `ratio` of all together, `worst_ratio` of any one text.
    """
    memory, costs = DraftHistory(), {int(rows): seconds for rows, seconds in pass_s.items()}
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
    text: Record, memory: DraftHistory, costs: Mapping[int, float], draft_tokens: int
) -> tuple[float, int]:
    """Seconds of the decode of one text, and passes with the one that gave the first token."""
    ids, record = text['ids'], memory.for_prompt(CAPTION_KEY)
    drafter = Drafter(record, text['prompt_ids'], text['stop_ids'], draft_tokens)
    drafter.add(ids[:1])
    done, spent_s, passes = 1, 0.0, 1
    while done < len(ids):
        draft = drafter.draft(len(ids) - done)
        taken = min(common(draft, ids[done:]) + 1, len(ids) - done)
        pass_s = interpolated(costs, 1 + len(draft))
        spent_s, passes = spent_s + pass_s, passes + 1
        drafter.note_pass(1 + len(draft), round(pass_s * 1e9))
        drafter.add(ids[done : done + taken])
        done += taken
    record.keep(ids, is_complete=True)
    return spent_s, passes


def interpolated(costs: Mapping[int, float], rows: int) -> float:
    """Between the sizes that were measured, in proportion; beyond the largest, its own per
    position.
    """
    sizes = sorted(costs)
    index = bisect_left(sizes, rows)
    if index == len(sizes):
        return costs[sizes[-1]] * rows / sizes[-1]
    if sizes[index] == rows or not index:
        return costs[sizes[index]]
    low, high = sizes[index - 1], sizes[index]
    return costs[low] + (rows - low) / (high - low) * (costs[high] - costs[low])
