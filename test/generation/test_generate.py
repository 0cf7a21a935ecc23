# SPDX-License-Identifier: Apache-2.0
"""The generation loop on the scripted backend: steps, tokens, limits, durations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from support.built_inputs import frame, inputs

from penguin_ros.backends.base.backend import Chunk, GreedyToken
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.errors import InvalidLogits, InvalidRequest, NoFreeSlot, PromptTooLong
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput, Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import StopReason
from penguin_ros.steps import run_to_end
from penguin_ros.testing.scripted_backend import ScriptedBackend

STOP = 7
QUESTION = inputs([1, 2, frame(4, 6), 3, frame(2, 4), *range(10, 19)])


def letter(token_id: int) -> bytes:
    return chr(ord('a') + token_id % 26).encode()


def params(**changes: Any) -> SamplingParams:
    return SamplingParams(
        **{'max_tokens': 12, 'stop_token_ids': (STOP,), 'prefill_chunk': 4, **changes}
    )


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    opened = ScriptedBackend(ModelConfig(max_length=64, kv_slots=1, encode_patches=8))
    opened.open()
    yield opened
    opened.close()


def run(
    backend: ScriptedBackend, question: ModelInputs, params: SamplingParams
) -> tuple[list[Step], GenerationOutput]:
    output = GenerationOutput(Detokenizer(letter))
    steps = generate(Caches(backend), question, params, output, itertools.count().__next__)
    return list(steps), output


def greedy_by_hand(backend: ScriptedBackend, question: ModelInputs, count: int) -> list[int]:
    """The same continuation from single forwards, the prompt in one chunk."""
    features = run_to_end(backend.encode(question.frames))
    (chunk,) = prompt_chunks(question, features, 1000)
    slot, tokens = backend.new_slot(), []
    for _ in range(count):
        tokens.append(int(backend.forward(slot, chunk, (-1,))[0].argmax()))
        chunk = Chunk(np.array(tokens[-1:]))
    backend.free_slot(slot)
    return tokens


@pytest.mark.parametrize('chunk', [1, 3, 4, 7, 22, 1000])
def test_any_chunk_size_gives_the_tokens_of_one_long_forward(
    backend: ScriptedBackend, chunk: int
) -> None:
    expected = greedy_by_hand(backend, QUESTION, 12)
    _, output = run(backend, QUESTION, params(prefill_chunk=chunk, stop_token_ids=()))
    assert output.token_ids == expected
    assert output.text == b''.join(map(letter, expected)).decode()
    assert output.stop_reason is StopReason.MAX_TOKENS
    assert (output.stats.prompt_tokens, output.stats.visual_tokens) == (20, 8)


def test_each_yield_is_one_step_of_the_backend(backend: ScriptedBackend) -> None:
    done: list[str] = []
    backend.on_step = done.append
    output = GenerationOutput(Detokenizer(letter))
    running = generate(
        Caches(backend), QUESTION, params(max_tokens=3), output, itertools.count().__next__
    )
    counts = []
    for _ in running:
        counts.append(len(done))
    assert max(after - before for before, after in itertools.pairwise([0, *counts])) == 1


def test_steps_name_their_phase_and_the_first_token_ends_the_prefill(
    backend: ScriptedBackend,
) -> None:
    backend.script = [30, 31, 32, STOP]
    steps, _ = run(backend, QUESTION, params())
    phases = [step.phase for step in steps]
    assert phases == sorted(phases, key=('encode', 'prefill', 'decode').index)
    assert phases.count('prefill') == 5
    tokens = [(step.phase, *step.token_ids) for step in steps if step.token_ids]
    assert tokens == [('prefill', 30), ('decode', 31), ('decode', 32), ('decode', STOP)]
    assert steps[phases.count('encode') + 4].token_ids == (30,)


def test_a_prompt_without_pictures_encodes_nothing(backend: ScriptedBackend) -> None:
    steps, output = run(backend, inputs([1, 2, 3]), params(max_tokens=2))
    assert [step.phase for step in steps] == ['prefill', 'decode']
    assert output.stats.visual_tokens == 0


def test_a_stop_token_ends_the_text_without_appearing_in_it(backend: ScriptedBackend) -> None:
    backend.script = [30, 31, STOP]
    steps, output = run(backend, QUESTION, params())
    assert output.token_ids == [30, 31, STOP]
    assert output.stats.generated_tokens == 2
    assert output.text == 'ef' == ''.join(step.piece for step in steps)
    assert output.stop_reason is StopReason.STOP_TOKEN


def test_a_text_that_repeats_itself_is_stopped(backend: ScriptedBackend) -> None:
    backend.script = [40, 41] * 20
    _, output = run(
        backend, QUESTION, params(max_tokens=30, sampling=GenerationConfig(max_repeats=3))
    )
    assert output.token_ids == [40, 41] * 3
    assert output.stats.generated_tokens == 6
    assert output.stop_reason is StopReason.REPETITION


def test_the_maximum_is_cut_to_what_the_slot_holds(backend: ScriptedBackend) -> None:
    _, output = run(backend, inputs(range(10, 70)), params(max_tokens=1000, stop_token_ids=()))
    assert len(output.token_ids) == 4
    assert output.stop_reason is StopReason.MAX_TOKENS


def test_a_prompt_of_all_but_one_position_still_gets_one_token(backend: ScriptedBackend) -> None:
    _, output = run(backend, inputs(range(10, 73)), params(stop_token_ids=()))
    assert len(output.token_ids) == 1


def test_a_prompt_that_fills_the_slot_is_refused_before_any_work(backend: ScriptedBackend) -> None:
    done: list[str] = []
    backend.on_step = done.append
    with pytest.raises(PromptTooLong, match='the prompt has 64 tokens'):
        run(backend, inputs(range(10, 74)), params())
    assert done == []
    backend.free_slot(backend.new_slot())  # the only one is free


def test_an_empty_prompt_is_refused(backend: ScriptedBackend) -> None:
    with pytest.raises(InvalidRequest, match='empty'):
        run(backend, inputs([]), params())


@pytest.mark.parametrize('wrong', [{'max_tokens': 0}, {'prefill_chunk': 0}])
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match='it takes 1 or more'):
        params(**wrong)


def test_without_a_free_slot_nothing_is_encoded(backend: ScriptedBackend) -> None:
    done: list[str] = []
    backend.on_step = done.append
    backend.new_slot()
    with pytest.raises(NoFreeSlot):
        run(backend, QUESTION, params())
    assert done == []


def test_logits_are_kept_on_demand_one_row_per_token(backend: ScriptedBackend) -> None:
    steps, output = run(backend, QUESTION, params(keep_logits=True, stop_token_ids=()))
    rows = [row for step in steps if step.logits is not None for row in step.logits]
    assert [int(row.argmax()) for row in rows] == output.token_ids
    assert all(step.logits is None for step in run(backend, QUESTION, params())[0])


def test_sampling_repeats_with_its_seed_and_differs_between_requests(
    backend: ScriptedBackend,
) -> None:
    warm = GenerationConfig(temperature=1.0, seed=3, max_repeats=0)
    texts = [
        run(backend, QUESTION, params(sampling=warm, seed_offset=offset, stop_token_ids=()))[1].text
        for offset in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_half_a_character_at_the_end_comes_with_the_last_token(backend: ScriptedBackend) -> None:
    backend.script = [30, 31, 32]
    heart = '\u2764'.encode()
    output = GenerationOutput(Detokenizer(lambda token: heart[token - 30 : token - 29]))
    running = generate(
        Caches(backend), QUESTION, params(max_tokens=2), output, itertools.count().__next__
    )
    pieces = [step.piece for step in running if step.token_ids]
    assert pieces == ['', '\ufffd']


def test_durations_leave_out_the_time_between_steps(backend: ScriptedBackend) -> None:
    time_ns = [0]
    costs = {'encode': 5, 'prefill': 70, 'decode': 900}

    def spend(step: str) -> None:
        time_ns[0] += costs.get(step, 0)

    backend.on_step = spend
    output = GenerationOutput(Detokenizer(letter))
    few = params(max_tokens=3, stop_token_ids=())
    for _ in generate(Caches(backend), QUESTION, few, output, lambda: time_ns[0]):
        time_ns[0] += 10**9
    stats = output.stats
    assert stats.encode_ns == 5 * 4  # 24 and 8 patches in slices of 8
    assert stats.prefill_ns == 70 * 5
    assert stats.decode_ns == 2 * 900


def test_a_greedy_request_lets_the_backend_choose_and_every_other_looks_at_the_logits(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, best = [], backend.forward_greedy

    def counted(slot: int, chunk: Chunk) -> GreedyToken:
        chosen.append(best(slot, chunk))
        return chosen[-1]

    monkeypatch.setattr(backend, 'forward_greedy', counted)
    _, greedy = run(backend, QUESTION, params())
    assert [each.token_id for each in chosen] == greedy.token_ids
    for other in (params(keep_logits=True), params(sampling=GenerationConfig(temperature=0.5))):
        count = len(chosen)
        _, output = run(backend, QUESTION, other)
        assert len(chosen) == count and len(output.token_ids) > 0
        assert output.token_ids == greedy.token_ids or other.sampling.temperature


def test_invalid_logits_end_the_request_and_free_its_slot(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = backend.forward

    def broken(slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> np.ndarray:
        logits = forward(slot, chunk, logits_indices)
        return logits * np.float32('nan') if logits_indices else logits

    monkeypatch.setattr(backend, 'forward', broken)
    for some in (params(), params(keep_logits=True)):
        with pytest.raises(InvalidLogits, match='NaN'):
            run(backend, QUESTION, some)
    backend.free_slot(backend.new_slot())
