# SPDX-License-Identifier: Apache-2.0
"""Drafts on the scripted backend: whatever is drafted, a text begins, goes on and ends as it does
without.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.built_inputs import frame, inputs
from support.given_drafts import Draft, GivenDrafts, drafts_of

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.errors import BackendError, DeadlineExceeded, InvalidLogits, RequestCancelled
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput, Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.request import StopReason
from penguin_ros.testing.scripted_backend import ScriptedBackend

STOP = 7
QUESTION = inputs([1, 2, frame(4, 6), 3, *range(10, 19)])
PROMPT = len(QUESTION.prompt.token_ids)
SCRIPT = [30, 31, 32, 33, 34, 35, 36, 37, STOP, 38, 39]
KINDS = tuple(drafts_of([1], 0, 2, 0))


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    opened = ScriptedBackend(ModelConfig(max_length=64, kv_slots=1), script=SCRIPT)
    opened.open()
    yield opened
    opened.close()


class Run:
    """One generation with these drafts, first token included; `steps` that gave tokens."""

    def __init__(self, backend: ScriptedBackend, draft: Draft | None, **changes: Any) -> None:
        self.backend, self.steps = backend, list[Step]()
        self.drafter = GivenDrafts(draft) if draft else None
        params = SamplingParams(**{'max_tokens': 12, 'stop_token_ids': (STOP,), **changes})
        # Characters of three tokens.
        heart = Detokenizer(lambda token_id: b'\xe2\x9d\xa4'[token_id % 3 : token_id % 3 + 1])
        self.output = GenerationOutput(heart)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                'penguin_ros.generation.generate.drafter_for',
                lambda params, inputs, history: self.drafter,
            )
            self.running = generate(
                Caches(backend), QUESTION, params, self.output, itertools.count().__next__
            )
            while not self.output.token_ids:
                self._note(next(self.running))

    def finish(self) -> Run:
        for step in self.running:
            self._note(step)
        return self

    def _note(self, step: Step) -> None:
        if step.token_ids:
            self.steps.append(step)
        assert self.output.text == ''.join(step.piece for step in self.steps)
        assert self.output.token_ids == [
            token_id for step in self.steps for token_id in step.token_ids
        ]
        if step.phase == 'decode':
            self.check_slot()

    def check_slot(self) -> None:
        """The only slot holds the prompt and the text without its last token, no draft."""
        ((slot, held),) = self.backend.held().items()
        assert held == [*QUESTION.prompt.token_ids, *self.output.token_ids[:-1]]
        assert self.backend.slot_length(slot) == len(held)

    def facts(self) -> tuple[Any, ...]:
        return self.output.token_ids, self.output.text, self.output.stop_reason


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'max_tokens': 5},
        {'max_tokens': 2},
        {'stop_token_ids': (33, STOP)},
        {'stop_token_ids': ()},
        {'keep_logits': True},
        {'sampling': GenerationConfig(temperature=3.0, seed=1)},
        {'max_tokens': 1000, 'stop_token_ids': ()},
    ],
)
def test_no_draft_changes_the_text_its_reason_or_what_the_slot_holds(
    backend: ScriptedBackend, kind: str, changes: Any
) -> None:
    plain = Run(backend, None, **changes).finish()
    for seed in range(5):
        draft = drafts_of([*plain.output.token_ids, STOP, 40, 41], STOP, 512, seed)[kind]
        drafted = Run(backend, draft, **changes).finish()
        assert drafted.facts() == plain.facts()
        assert (
            drafted.output.stats.forward_passes
            <= plain.output.stats.forward_passes
            == len(plain.output.token_ids)
        )
        if changes.get('keep_logits'):
            rows = [
                np.concatenate([step.logits for step in run.steps if step.logits is not None])
                for run in (plain, drafted)
            ]
            assert np.array_equal(*rows)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    script=st.lists(st.integers(5, 9), max_size=30),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 999),
    repeats=st.integers(0, 3),
    temperature=st.sampled_from([0.0, 1.0]),
    most=st.integers(1, 40),
)
def test_texts_that_repeat_themselves_stop_where_they_do_without_drafts(
    backend: ScriptedBackend,
    script: list[int],
    kind: str,
    seed: int,
    repeats: int,
    temperature: float,
    most: int,
) -> None:
    backend.script = script
    changes = {
        'max_tokens': most,
        'sampling': GenerationConfig(temperature, max_repeats=repeats, seed=seed),
    }
    plain = Run(backend, None, **changes).finish()
    drafted = Run(
        backend, drafts_of([*plain.output.token_ids, *script], STOP, 12, seed)[kind], **changes
    ).finish()
    assert drafted.facts() == plain.facts()


def test_a_right_draft_is_one_step_and_a_wrong_token_costs_those_after_it(
    backend: ScriptedBackend,
) -> None:
    run = Run(
        backend, lambda start, longest: {1: [31, 32, 99, 34], 4: [34, 35]}.get(start, ())
    ).finish()
    assert [step.token_ids for step in run.steps] == [
        (30,),
        (31, 32, 33),
        (34, 35, 36),
        (37,),
        (STOP,),
    ]
    assert run.drafter is not None and run.drafter.passes == [5, 3, 1, 1]
    stats = run.output.stats
    assert (stats.forward_passes, stats.drafted_tokens, stats.accepted_tokens) == (5, 6, 4)


def test_nothing_after_a_stop_token_inside_a_draft_is_shown(backend: ScriptedBackend) -> None:
    backend.script = [30, 31, STOP, 33, 34]
    run = Run(backend, lambda start, longest: [31, STOP, 33, 34]).finish()
    assert (
        run.output.token_ids == [30, 31, STOP] and run.output.stop_reason is StopReason.STOP_TOKEN
    )
    assert run.output.stats.accepted_tokens == 2


def test_each_step_is_one_pass(backend: ScriptedBackend) -> None:
    passes: list[str] = []
    backend.on_step = passes.append
    run = Run(backend, lambda start, longest: SCRIPT[start : start + 3])
    counts = [len(passes)]
    for _ in run.running:
        counts.append(len(passes))
    assert [after - before for before, after in itertools.pairwise(counts)] == [1] * (
        len(counts) - 1
    )
    assert len(counts) == 3


@pytest.mark.parametrize('steps', range(4))
@pytest.mark.parametrize('error', [RequestCancelled('no'), DeadlineExceeded('late'), None])
def test_ended_between_steps_a_text_has_what_its_steps_gave(
    backend: ScriptedBackend, steps: int, error: Exception | None
) -> None:
    run = Run(backend, lambda start, longest: [*SCRIPT[start : start + 2], 99])
    given = list(run.steps[0].token_ids)
    for _ in range(steps):
        given += next(run.running, Step('decode')).token_ids
    if error is None:
        run.running.close()
    else:
        with pytest.raises(type(error)):
            run.running.throw(error)
    assert run.output.token_ids == given == SCRIPT[: len(given)]
    backend.free_slot(backend.new_slot())  # the only one is free


def test_an_error_of_the_pass_comes_out_and_the_slot_is_as_before(backend: ScriptedBackend) -> None:
    run = Run(backend, lambda start, longest: SCRIPT[start : start + 2])
    next(run.running)
    (slot,), held = backend.held(), []

    def fail(step: str) -> None:
        held.append(backend.slot_length(slot))
        raise BackendError('the device is lost')

    backend.on_step = fail
    with pytest.raises(BackendError, match='lost'):
        next(run.running)
    backend.on_step = lambda step: None
    assert held == [PROMPT + 3] and run.output.token_ids == SCRIPT[:4]


@pytest.mark.parametrize('keep_logits', [False, True])
@pytest.mark.parametrize('bad', range(5))
def test_invalid_logits_end_the_text_at_the_same_token(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, bad: int, keep_logits: bool
) -> None:
    """After token number `bad` the network gives NaN."""
    forward = backend.forward

    def broken(slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> np.ndarray:
        past, logits = (
            backend.slot_length(slot) - PROMPT,
            forward(slot, chunk, logits_indices).copy(),
        )
        for row, index in zip(logits, logits_indices, strict=True):
            if past + index % len(chunk.token_ids) == bad:
                row[3] = np.nan
        return logits

    monkeypatch.setattr(backend, 'forward', broken)
    for draft in (None, lambda start, longest: SCRIPT[start : start + 4]):
        run = Run(backend, draft, keep_logits=keep_logits)
        with pytest.raises(InvalidLogits):
            run.finish()
        assert run.output.token_ids == SCRIPT[: bad + 1] and len(run.output.text) == (bad + 1) // 3
        assert run.output.text == ''.join(step.piece for step in run.steps)
        backend.free_slot(backend.new_slot())


def test_a_rejected_token_that_spoils_the_logits_of_the_whole_pass_changes_nothing(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero times NaN is NaN: attention may carry it to positions that do not see the token."""
    plain, forward = Run(backend, None).finish(), backend.forward

    def broken(slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> np.ndarray:
        logits = forward(slot, chunk, logits_indices)
        return logits * np.float32('nan') if 99 in chunk.token_ids else logits

    monkeypatch.setattr(backend, 'forward', broken)
    run = Run(backend, lambda start, longest: [*SCRIPT[start : start + 1], 99]).finish()
    assert run.facts() == plain.facts()


def test_drafts_never_reach_past_the_last_position(backend: ScriptedBackend) -> None:
    run = Run(
        backend,
        lambda start, longest: [20] * 63,
        max_tokens=1000,
        stop_token_ids=(),
        sampling=GenerationConfig(max_repeats=0),
    ).finish()
    assert (
        len(run.output.token_ids) == 64 - PROMPT and run.output.stop_reason is StopReason.MAX_TOKENS
    )


def test_sampled_tokens_after_a_draft_are_as_frequent_as_their_probability_says(
    backend: ScriptedBackend,
) -> None:
    """Accepted with probability p of the drafted token, else drawn from the others; against draws
    without a draft.
    """
    backend.script = [30]
    counts: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    accepted = 0
    logits = (
        Run(backend, lambda start, longest: (), max_tokens=2, keep_logits=True)
        .finish()
        .steps[1]
        .logits
    )
    assert logits is not None
    favourite = int(logits[0].argmax())
    for number in range(700):
        for has_draft in (True, False):
            run = Run(
                backend,
                lambda start, longest, has_draft=has_draft: [favourite] * has_draft,
                max_tokens=3,
                stop_token_ids=(),
                seed_offset=2 * number + has_draft,
                sampling=GenerationConfig(temperature=0.6, top_k=6),
            ).finish()
            counts[has_draft][run.output.token_ids[1]] += 1
            accepted += has_draft and run.output.stats.accepted_tokens > 0
    best = np.argsort(-logits[0])[:6]
    weights = np.exp((logits[0][best].astype(np.float64) - logits[0].max()) / 0.6)
    probabilities = dict(zip(best.tolist(), weights / weights.sum(), strict=True))
    for count in counts.values():
        drawn = sum(count.values())
        assert set(count) <= set(probabilities) and drawn == 700
        for token_id, probability in probabilities.items():
            assert abs(count[token_id] / drawn - probability) < 4 * np.sqrt(
                probability * (1 - probability) / drawn
            )
    assert abs(accepted / 700 - probabilities[favourite]) < 4 * np.sqrt(0.25 / 700)
