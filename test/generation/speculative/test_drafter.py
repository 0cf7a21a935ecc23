# SPDX-License-Identifier: Apache-2.0
"""Drafts are as long as they pay on this machine and for these texts, and empty where they do not
pay.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.built_inputs import frame, inputs
from support.simulated_machine import STOP, Costs, Machine, changed, two_cores, words

from penguin_ros.config import GenerationConfig
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import PromptHistory, VerifyCosts
from penguin_ros.generation.speculative.drafter import PASS_SIZES, Drafter, drafter_for


def free_passes() -> PromptHistory:
    """A history in which a pass over many positions costs no more than one over one."""
    costs = VerifyCosts()
    for num_tokens in (1, 64):
        costs.note(num_tokens, 1000)
        costs.note(num_tokens, 1000)
    return PromptHistory(costs=costs)


def drafter(history: PromptHistory, max_tokens: int = 15, prompt: tuple[int, ...] = ()) -> Drafter:
    return Drafter(history, prompt, (STOP,), max_tokens)


# --- what may be drafted --------------------------------------------------------------------------


def test_a_draft_is_what_the_previous_text_had_there() -> None:
    history = free_passes()
    history.previous = tuple(range(100, 130))
    drafting = drafter(history)
    drafting.add([100])
    assert drafting.draft(1000) == list(range(101, 116))
    drafting.add([101, 102, 103])
    assert drafting.draft(1000) == list(range(104, 119))


@pytest.mark.parametrize(
    ('max_tokens', 'tokens_left', 'longest'),
    [(15, 1000, 15), (3, 1000, 3), (15, 5, 4), (15, 2, 1), (15, 1, 0)],
)
def test_a_draft_keeps_to_its_maximum_and_to_what_may_still_come(
    max_tokens: int, tokens_left: int, longest: int
) -> None:
    history = free_passes()
    history.previous = tuple(range(100, 130))
    drafting = drafter(history, max_tokens)
    drafting.add([100])
    assert len(drafting.draft(tokens_left)) == longest


def test_nothing_is_drafted_after_a_stop_token() -> None:
    history = free_passes()
    history.previous = (100, 101, 102, STOP, 104, 105)
    drafting = drafter(history)
    drafting.add([100])
    assert drafting.draft(1000) == [101, 102, STOP]


def test_without_a_previous_text_the_prompt_and_the_text_itself_are_quoted() -> None:
    drafting = drafter(free_passes(), prompt=(50, 51, 52, 53, 54))
    assert drafting.draft(1000) == []
    drafting.add([9, 50, 51])
    assert drafting.draft(1000)[:2] == [52, 53]
    drafting.add([70, 9, 50])
    assert drafting.draft(1000)[:2] == [51, 70]


def test_only_words_of_the_prompt_are_quoted_and_only_where_it_is_asked_for() -> None:
    question, history = inputs([1, 2, frame(4, 6), 3, 4]), free_passes()
    drafting = drafter_for(SamplingParams(9, (STOP,)), question, history)
    assert drafting is not None
    drafting.add([1, 2])
    assert drafting.draft(1000)[:2] == [3, 4]
    assert drafter_for(SamplingParams(9, (STOP,)), question, None) is None
    none = SamplingParams(9, (STOP,), GenerationConfig(draft_tokens=0))
    assert drafter_for(none, question, history) is None


# --- what pays ------------------------------------------------------------------------------------


@pytest.mark.parametrize('noise', [0.0, 0.5])
def test_captions_of_a_scene_that_stands_take_less_than_half_from_the_second_one_on(
    noise: float,
) -> None:
    machine, text = Machine(two_cores), words(1)
    first = machine.caption(text, noise)
    later = [machine.caption(text, noise) for _ in range(10)]
    assert (
        first < 1.05 * (1 + noise / 2)
        and max(later) < 0.5 * (1 + noise / 2)
        and np.mean(later[3:]) < 0.36 * (1 + noise / 2)
    )


@pytest.mark.parametrize('noise', [0.0, 0.5])
@pytest.mark.parametrize(
    'costs',
    [two_cores, lambda size: size, lambda size: 1 + 3 * (size > 1), lambda size: size**0.5],
    ids=['two cores', 'each position a step', 'dear from two positions on', 'square root'],
)
def test_captions_that_share_nothing_cost_no_more_than_without_drafts(
    costs: Costs, noise: float
) -> None:
    machine = Machine(costs)
    times = [machine.caption(words(seed), noise) for seed in range(40)]
    assert np.mean(times) < 1.03 * (1 + noise / 2) and max(times) < 1.35 * (1 + noise / 2)


@pytest.mark.parametrize(
    ('share', 'limit'), [(0.02, 0.5), (0.05, 0.6), (0.15, 0.85), (0.4, 1.03), (1.0, 1.03)]
)
def test_the_more_of_a_text_stays_the_faster_it_comes(share: float, limit: float) -> None:
    machine, text = Machine(two_cores), words(1)
    assert np.mean([machine.caption(changed(text, share, seed)) for seed in range(40)][1:]) < limit


def test_drafts_are_long_where_positions_are_free_and_rare_where_each_costs_a_step() -> None:
    text = words(1)
    free, dear = Machine(lambda size: 1.0), Machine(lambda size: 1.2 * size - 0.2)
    for _ in range(12):
        last = free.caption(text), dear.caption(text)
    assert free.passes[-4:-1] == [16, 16, 16] and last[0] < 0.1
    assert dear.passes[-100:].count(1) > 95 and last[1] < 1.03


def test_a_size_at_which_the_machine_is_best_is_found() -> None:
    def steps_of_four(size: int) -> float:
        return 1.0 if size == 1 else 1.6 * -(-size // 4)

    machine = Machine(steps_of_four)
    times = [machine.caption(words(1)) for _ in range(25)]
    assert np.mean(times[12:]) < 1.1 * 1.6 / 4


def test_drafting_ends_with_a_scene_that_changes_and_comes_back_when_it_stands_again() -> None:
    machine = Machine(two_cores)
    still = [machine.caption(words(1)) for _ in range(6)]
    moving = [machine.caption(words(100 + seed)) for seed in range(20)]
    again = [machine.caption(words(1)) for _ in range(5)]
    assert still[-1] < 0.4 and np.mean(moving) < 1.05 and np.mean(moving[10:]) < 1.03
    assert again[1] < 0.75 and again[-1] < 0.45


def test_a_change_of_the_machines_speed_is_noticed() -> None:
    slope = [0.1]
    machine, text = Machine(lambda size: 1 + slope[0] * (size - 1)), words(1)
    assert [machine.caption(text) for _ in range(8)][-1] < 0.2
    slope[0] = 2.0  # another node takes the cores that the positions had
    slower = [machine.caption(text) for _ in range(10)]
    assert np.mean(slower[5:]) < 1.05
    slope[0] = 0.1
    assert min(machine.caption(text) for _ in range(60)) < 0.4


def test_dear_sizes_are_tried_again_but_rarely() -> None:
    machine, text = Machine(lambda size: 1 + 2.0 * (size - 1)), words(1)
    for _ in range(100):
        machine.caption(text)
    later = machine.passes[1000:]
    assert 0 < sum(size > 1 for size in later) < len(later) / 100


def test_the_same_times_give_the_same_drafts() -> None:
    machines = [Machine(two_cores, seed=3) for _ in range(2)]
    for machine in machines:
        for seed in range(10):
            machine.caption(changed(words(1), 0.1, seed), 0.3)
    assert machines[0].passes == machines[1].passes and max(machines[0].passes) > 4


def test_sizes_that_are_considered_are_few_and_ascending() -> None:
    assert (
        list(PASS_SIZES) == sorted(set(PASS_SIZES)) and PASS_SIZES[0] == 2 and PASS_SIZES[-1] <= 64
    )
