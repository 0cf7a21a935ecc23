# SPDX-License-Identifier: Apache-2.0
"""Measures one model, in this process: a clip, and rules behind it that share nothing but the clip.

Rules are random tokens between the markup of a prompt, since what they say costs nothing. All is
computed by the calls that a node makes. Everything runs once before, uncounted, so that memory is
laid out; the ways take turns within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from penguin_ros.backends.base.backend import Backend, Branch, Chunk, Logits, read_in_turn
from penguin_ros.benchmark.engine.model import Opened, open_target
from penguin_ros.benchmark.rules.tasks import RulesResult, RulesRound, RulesTask
from penguin_ros.benchmark.stored_clip import FRAMES, stored_clip
from penguin_ros.benchmark.tasks import Target
from penguin_ros.console import status_line
from penguin_ros.errors import SettingError
from penguin_ros.generation.branches import (
    BranchQuery,
    leased_prefix,
    read_branches,
    shared_prefix,
)
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.kv_slot import visual_end
from penguin_ros.generation.precompute import precompute_features, precompute_prefix
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.scoring.outcomes import outcomes_of
from penguin_ros.steps import run_to_end

CACHE_BYTES = 1 << 30
MOST_FRAMES = 128
LEAST_FILL = 2
"""Tokens of a rule that are its own."""

DECODED = 20
"""Rules whose tokens are decoded one by one, to see what rounding does."""


def measure_rules(target: Target, task: RulesTask) -> RulesResult:
    """Opens the target, measures and closes it; SettingError where the clip or the rules do not
    fit, and what opening raises.
    """
    opened = open_target(target)
    try:
        queries = _queries(opened, task)
        prefix = shared_prefix([query.inputs for query in queries])
        caches = Caches(opened.backend, CACHE_BYTES, True)
        rounds = []
        for number in range(task.rounds + 1):
            status_line(f'{target.name}: round {number} of {task.rounds}' if number else 'warm-up')
            rounds.append(_round(opened, caches, queries, task))
        description = opened.backend.description
        return RulesResult(
            f'{target.name}, {description.precision}',
            f'{description.name}, {description.way}',
            task,
            prefix,
            tuple(rounds[1:]),
            *_differences(caches, queries, prefix),
        )
    finally:
        opened.backend.close()


def _round(
    opened: Opened, caches: Caches, queries: Sequence[BranchQuery], task: RulesTask
) -> RulesRound:
    chunk = opened.config.model.prefill_chunk or opened.backend.description.prefill_chunk
    inputs = queries[0].inputs
    caches.forget()
    encode = _seconds(lambda: run_to_end(precompute_features(caches, inputs.frames)))
    prefill = _seconds(lambda: run_to_end(precompute_prefix(caches, inputs, chunk)))
    together, in_turn = {}, {}
    for count in task.counts:
        asked = queries[:count]
        together[count] = _seconds(partial(_all_at_once, caches, asked, chunk))
        in_turn[count] = _seconds(partial(_one_by_one, caches, asked, chunk))
    return RulesRound(encode, prefill, together, in_turn)


def _all_at_once(caches: Caches, queries: Sequence[BranchQuery], chunk: int) -> None:
    run_to_end(read_branches(caches, queries, chunk))


def _one_by_one(caches: Caches, queries: Sequence[BranchQuery], chunk: int) -> None:
    for query in queries:
        run_to_end(read_branches(caches, [query], chunk))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _queries(opened: Opened, task: RulesTask) -> list[BranchQuery]:
    """Returns rules about one clip, each asked for the tokens of yes and no."""
    model = opened.model
    wanted = outcomes_of((), model.tokenizer.encode_text, model.shape.stop_token_ids, False).wanted
    _check_room(opened, task.clip_tokens + task.suffix)
    inputs = _clip_inputs(opened, task)
    start = visual_end(inputs)
    ids = inputs.prompt.token_ids
    template = len(ids) - start - len(model.tokenizer.encode_text('\nWhat?'))
    fill = task.suffix - template - 1
    if fill < LEAST_FILL:
        raise SettingError(
            f'--suffix {task.suffix}',
            f'the markup of a prompt has {template + 1} tokens of these',
            f'Give {template + 1 + LEAST_FILL} or more',
        )
    _check_room(opened, start + task.suffix)
    random = np.random.default_rng(0)
    return [
        BranchQuery(_with_suffix(inputs, start, template, random.integers(0, 256, fill)), wanted)
        for _ in range(max(task.counts))
    ]


def _with_suffix(inputs: ModelInputs, start: int, template: int, fill: np.ndarray) -> ModelInputs:
    ids = inputs.prompt.token_ids
    changed = np.concatenate((ids[: start + 1], fill, ids[-template:])).astype(np.int64)
    return replace(inputs, prompt=replace(inputs.prompt, token_ids=changed))


def _clip_inputs(opened: Opened, task: RulesTask) -> ModelInputs:
    """Returns the stored clip with as many frames as it takes for so many tokens."""
    preprocessor = opened.preprocessor(max_visual_tokens=task.clip_tokens * 5 // 4)
    frames = FRAMES
    while frames <= MOST_FRAMES:
        inputs = preprocessor.clip_inputs(stored_clip(frames), 'What?')
        if visual_end(inputs) >= task.clip_tokens:
            return inputs
        frames *= 2
    raise SettingError(
        f'--clip-tokens {task.clip_tokens}',
        f'a clip of {MOST_FRAMES} frames has {visual_end(inputs)} tokens',
        'Give fewer',
    )


def _check_room(opened: Opened, needed: int) -> None:
    room = opened.backend.description.max_length
    if needed >= room:
        raise SettingError(
            f'the clip and a rule have {needed} tokens',
            f'a KV slot holds {room}',
            'Give fewer with --clip-tokens, or more with --set model.max_length=N',
        )


def _differences(
    caches: Caches, queries: Sequence[BranchQuery], prefix: int
) -> tuple[float, float]:
    """Returns how far the logits of all rules read together are from those of each read alone, and
    how far those of some are when their tokens are decoded one by one, at worst.
    """
    backend, inputs = caches.backend, queries[0].inputs
    run_to_end(precompute_prefix(caches, inputs, backend.description.prefill_chunk))
    with leased_prefix(caches, inputs, prefix) as slot:
        branches = [Branch(query.inputs.prompt.token_ids[prefix:]) for query in queries]
        together = backend.forward_branches(slot.slot_id, branches)
        alone = read_in_turn(backend, slot.slot_id, branches)
        decoded = [_decoded(backend, slot.slot_id, each) for each in branches[:DECODED]]
    return _worst(together, alone), _worst(decoded, alone[:DECODED])


def _decoded(backend: Backend, slot: int, branch: Branch) -> Logits:
    """Appends a branch token by token and forgets it again."""
    length = backend.slot_length(slot)
    for token_id in branch.token_ids:
        logits = backend.forward(slot, Chunk(np.array([token_id])), (-1,))
    backend.truncate(slot, length)
    return logits


def _worst(found: Sequence[Logits], expected: Sequence[Logits]) -> float:
    return max(
        float(np.linalg.norm(one - other) / np.linalg.norm(other))
        for one, other in zip(found, expected, strict=True)
    )
