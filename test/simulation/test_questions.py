# SPDX-License-Identifier: Apache-2.0
"""Questions are true to their scene, can be answered from it, and give little away."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_truths import truth_with, truths

from penguin_ros.simulation import words
from penguin_ros.simulation.questions import KINDS, QuestionAnswer, normalised, questions
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.truth import Truth, truth
from penguin_ros.simulation.world import World

THING = r'(\w+ (?:box|ball|cylinder|cone))'


@pytest.fixture(scope='module')
def asked(world: World) -> list[tuple[Truth, QuestionAnswer]]:
    """Returns questions about random scenes."""
    found = []
    for seed in range(250):
        scene = random_scene(seed, 3)
        seen = truth(scene, world, 0.0, scene.seconds, samples=2)
        found += [(seen, item) for item in questions(seen, random.Random(seed))]
    return found


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('Three.', '3'),
        ('A box.', 'box'),
        ('The red box and the blue ball.', 'the Red box, the blue ball'),
        ('It moves left.', ' moves  left'),
        ('Yes.', 'yes'),
    ],
)
def test_answers_are_compared_by_value(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_different_values_stay_different() -> None:
    answers = [
        'Left.',
        'Right.',
        'Yes.',
        'No.',
        'Two.',
        'Zero.',
        'Nothing.',
        words.CANNOT_SEE,
        *words.DOES.values(),
        'The red box.',
        'The blue box.',
        'The red box and the blue box.',
        'The blue box and the red box.',
    ]
    assert len({normalised(answer) for answer in answers}) == len(answers)


def test_every_kind_is_asked_about_rich_scenes_and_no_question_twice(
    asked: list[tuple[Truth, QuestionAnswer]],
) -> None:
    tally = Counter(item.kind for _, item in asked)
    assert set(tally) == set(KINDS) and min(tally.values()) > 0.06 * len(asked)
    assert len(asked) >= 11.5 * 250
    per_scene = Counter((id(seen), item.question) for seen, item in asked)
    assert set(per_scene.values()) == {1}


def test_answers_are_balanced(asked: list[tuple[Truth, QuestionAnswer]]) -> None:
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for _, item in asked:
        tallies[item.kind][item.answer] += 1
    shares = {kind: max(tally.values()) / sum(tally.values()) for kind, tally in tallies.items()}
    assert all(shares[kind] < 0.58 for kind in ('yes_no', 'position'))
    assert (
        all(shares[kind] < 0.45 for kind in ('count', 'motion', 'shape'))
        and shares['colour'] < 0.25
    )
    assert shares['changed'] < 0.35 and shares['order'] < 0.1


def test_colours_shapes_and_sides_are_those_of_the_scene(
    asked: list[tuple[Truth, QuestionAnswer]],
) -> None:
    checked = Counter[str]()
    for seen, item in asked:
        names = [' '.join(sight.name) for sight in seen.present]
        if match := re.search(r'colou?r (?:is|does) the (box|ball|cylinder|cone)', item.question):
            colours = {name.split()[0] for name in names if name.endswith(match[1])}
            assert colours == ({normalised(item.answer)} if item.kind == 'colour' else set())
        elif match := re.fullmatch(
            rf'Is the {THING} left or right of the {THING}\?', item.question
        ):
            if item.kind == 'position':
                assert (names.index(match[1]) < names.index(match[2])) == (item.answer == 'Left.')
            else:
                assert not {match[1], match[2]} <= set(names)
        elif match := re.fullmatch(rf'Is the {THING} (left|right) of the {THING}\?', item.question):
            assert ((names.index(match[1]) < names.index(match[3])) == (match[2] == 'left')) == (
                item.answer == 'Yes.'
            )
        elif match := re.fullmatch(
            r'(?:Is there|Do you see) a (?:(\w+) )?(box|ball|cylinder|cone)\?', item.question
        ):
            is_there = any(
                name.endswith(match[2]) and (not match[1] or name.startswith(match[1]))
                for name in names
            )
            assert is_there == (item.answer == 'Yes.')
        elif item.question in words.COUNT:
            assert normalised(item.answer) == str(len(names))
        elif item.question in words.ORDER_ALL:
            assert (
                re.findall(
                    THING,
                    item.answer.replace('the ', '').replace('The ', '').replace(' and ', ', '),
                )
                == names
            )
        else:
            continue
        checked[item.kind] += 1
    assert all(
        checked[kind] > 15
        for kind in ('colour', 'position', 'yes_no', 'count', 'order', 'unanswerable')
    )


def test_motions_are_those_of_the_scene(asked: list[tuple[Truth, QuestionAnswer]]) -> None:
    checked = 0
    for seen, item in asked:
        match = re.search(THING, item.question)
        motions = {' '.join(sight.name): sight.motion for sight in seen.sights}
        if item.kind == 'motion':
            assert match and item.answer == words.DOES[motions[match[1]]]
            checked += 1
        elif item.kind == 'yes_no' and match and item.answer == 'Yes.':
            template = item.question.replace(match[1], '{thing}')
            for motion, templates in words.IS_IT.items():
                if template in templates:
                    assert motions[match[1]] == motion
                    checked += 1
    assert checked > 250


def test_nothing_that_can_be_told_counts_as_unanswerable(
    asked: list[tuple[Truth, QuestionAnswer]],
) -> None:
    unknowable = [
        re.compile(re.escape(template).replace(r'\{thing\}', THING))
        for template in words.UNKNOWABLE
    ]
    for seen, item in asked:
        assert (item.kind == 'unanswerable') == (item.answer == words.CANNOT_SEE)
        if item.kind == 'unanswerable' and not any(
            pattern.fullmatch(item.question) for pattern in unknowable
        ):
            names = {' '.join(sight.name) for sight in seen.sights}
            named = re.findall(THING, item.question)
            colours, shapes = (
                {name.split()[0] for name in names},
                {name.split()[1] for name in names},
            )
            absent = [name for name in named if name.split()[0] != 'the' and name not in names]
            about = re.search(r'the (\w+) thing|colou?r (?:is|does|of) the (\w+)', item.question)
            assert absent or (
                about and (about[1] not in colours if about[1] else about[2] not in shapes)
            ), item


@settings(max_examples=200, deadline=None)
@given(truths(), st.integers(0, 1000))
def test_any_truth_gives_questions_and_the_same_ones_again(seen: Truth, seed: int) -> None:
    first = questions(seen, random.Random(seed), 9)
    assert first == questions(seen, random.Random(seed), 9) and 0 < len(first) <= 9


def test_what_is_a_matter_of_opinion_is_not_asked() -> None:
    seen = truth_with(('red', 'box', 'still'), ('blue', 'ball', 'left'), is_clear=False)
    kinds = {item.kind for seed in range(50) for item in questions(seen, random.Random(seed))}
    assert kinds == {'unanswerable'}
