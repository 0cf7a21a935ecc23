# SPDX-License-Identifier: Apache-2.0
"""A summary takes the prompts that it said it would, and every caption stands in one of them."""

from __future__ import annotations

import random

from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Entry, Kind
from penguin_ros.recollection.spread import spread
from penguin_ros.recollection.summary import SummaryLimits, cost_of, lines_of, summary


def entry(number: int, text: str, camera: str = 'front', session: int = 1) -> Entry:
    stamp = number * NANOSECONDS
    return Entry(
        number, session, Kind.CAPTION, '/penguin', camera, stamp, stamp + 1, text, '', {}, None,
        '', 0, False,
    )  # fmt: skip


def told(entries: list[Entry], limits: SummaryLimits, focus: str = '') -> tuple[str, list[str]]:
    """Answers each prompt with its number; returns the summary and the prompts."""
    steps = summary(lines_of(entries), focus, limits)
    prompts: list[str] = []
    try:
        prompt = next(steps)
        while True:
            prompts.append(prompt)
            prompt = steps.send(f'part {len(prompts)}')
    except StopIteration as end:
        return end.value, prompts


def test_the_cost_is_known_before_whatever_the_captions_and_every_caption_is_read() -> None:
    chance = random.Random(1)
    for _ in range(60):
        entries = [
            entry(i, f'caption{i}, ' + 'word ' * chance.randrange(60))
            for i in range(chance.randrange(1, 300))
        ]
        limits = SummaryLimits(chance.randrange(400, 4000), chance.randrange(10, 60))
        cost = cost_of(lines_of(entries), '', limits)
        text, prompts = told(entries, limits)
        assert cost.prompts == len(prompts)
        assert text == f'part {len(prompts)}'
        assert all(len(prompt) < limits.characters + 250 for prompt in prompts)
        read = '\n'.join(prompts)
        assert all(f'caption{each.id},' in read for each in entries)
        assert all(f'part {number}' in read for number in range(1, len(prompts)))


def test_the_estimate_of_tokens_is_near_a_token_per_four_characters() -> None:
    entries = [entry(i, 'word ' * 30) for i in range(500)]
    limits = SummaryLimits(3000, 100)
    cost = cost_of(lines_of(entries), '', limits)
    steps = summary(lines_of(entries), '', limits)
    total, prompt = 0, next(steps)
    try:
        while True:
            total += len(prompt)
            prompt = steps.send('x' * limits.part_characters)
    except StopIteration:
        pass
    assert 0.8 < cost.prompt_tokens / (total / 4) < 1.25


def test_neighbours_that_say_the_same_are_told_once_with_all_their_entries() -> None:
    same = [entry(1, 'a box'), entry(2, 'a box'), entry(3, 'a ball'), entry(4, 'a box')]
    lines = lines_of([*same, entry(5, 'a box', 'rear')])
    assert [[each.id for each in line.entries] for line in lines] == [[1, 2], [3], [4], [5]]


def test_the_focus_and_the_minutes_stand_in_the_prompt() -> None:
    _, prompts = told(
        [entry(60, 'a box'), entry(150, 'a ball')], SummaryLimits(1000, 50), 'the ball'
    )
    assert 'the ball' in prompts[0]
    assert '[0.0 front] a box\n[1.5 front] a ball' in prompts[0]


def test_nothing_costs_nothing() -> None:
    assert told([], SummaryLimits(1000, 50)) == ('', [])
    assert cost_of([], '', SummaryLimits(1000, 50)).prompts == 0


def test_what_is_spread_holds_the_first_and_the_last_in_order() -> None:
    for length in range(1, 40):
        for count in range(2, 12):
            chosen = spread(list(range(length)), count)
            assert len(chosen) == min(length, count)
            assert chosen[0] == 0
            assert chosen[-1] == length - 1
            assert chosen == sorted(set(chosen))
    assert spread([1, 2, 3], 1) == [3]
    assert spread([1, 2, 3], 0) == []
