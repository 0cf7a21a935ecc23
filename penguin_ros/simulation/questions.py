# SPDX-License-Identifier: Apache-2.0
"""Questions about a truth and their right answers, as balanced as the truth allows."""

from __future__ import annotations

import random as random_module
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penguin_ros.simulation import words
from penguin_ros.simulation.language import listed, noun
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.truth import Sight, Truth

Random = random_module.Random


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its right answer: `kind` is one of KINDS, `answer` is worded as a perfect
    model would, see `normalised`.
    """

    kind: str
    question: str
    answer: str


def normalised(text: str) -> str:
    """Returns an answer's value: in lower case, with numbers as digits, without punctuation and
    words that carry nothing.
    """
    found = re.findall('[a-z0-9]+', text.lower())
    return ' '.join(
        str(words.NUMBERS.index(word)) if word in words.NUMBERS else word
        for word in found
        if word not in ('a', 'an', 'the', 'it', 'is', 'and', 'there', 'are')
    )


def questions(truth: Truth, random: Random, count: int = 12) -> list[QuestionAnswer]:
    """Returns up to `count` different questions, of every kind that the truth allows in turn;
    nothing unclear is asked.
    """
    asked: dict[str, QuestionAnswer] = {}
    for _ in range(4):
        for kind in random.sample(KINDS, len(KINDS)):
            found = _ASK[kind](truth, random)
            if found is not None and len(asked) < count:
                asked.setdefault(found[0], QuestionAnswer(kind, *found))
    return list(asked.values())


Asked = tuple[str, str] | None
"""(question, answer), or None where the truth allows no such question."""


def _colour(truth: Truth, random: Random) -> Asked:
    if truth.is_clear and truth.count > 1 and random.random() < 0.3:
        place = random.choice((0, -1))
        return random.choice(words.COLOUR_AT).format(
            end=words.ENDS[place][0]
        ), f'{truth.present[place].colour.capitalize()}.'
    sights = [
        sight for sight in truth.present if sight.is_clear and _is_only(truth, 'shape', sight.shape)
    ]
    if not sights:
        return None
    sight = random.choice(sights)
    return random.choice(words.COLOUR_OF).format(shape=sight.shape), f'{sight.colour.capitalize()}.'


def _shape(truth: Truth, random: Random) -> Asked:
    if truth.is_clear and truth.count > 1 and random.random() < 0.3:
        place = random.choice((0, -1))
        return random.choice(words.SHAPE_AT).format(
            end=words.ENDS[place][0]
        ), f'A {truth.present[place].shape}.'
    sights = [
        sight
        for sight in truth.present
        if sight.is_clear and _is_only(truth, 'colour', sight.colour)
    ]
    if not sights:
        return None
    sight = random.choice(sights)
    return random.choice(words.SHAPE_OF).format(colour=sight.colour), f'A {sight.shape}.'


def _count(truth: Truth, random: Random) -> Asked:
    if not truth.is_clear:
        return None
    if random.random() < 0.6:
        return random.choice(words.COUNT), f'{words.NUMBERS[truth.count].capitalize()}.'
    tally = Counter(sight.shape for sight in truth.present)
    # as often zero as one or two
    number = random.choice(sorted({tally[shape] for shape in SHAPES}))
    shape = random.choice([shape for shape in SHAPES if tally[shape] == number])
    return random.choice(words.COUNT_OF).format(
        plural=words.PLURALS[shape]
    ), f'{words.NUMBERS[number].capitalize()}.'


def _motion(truth: Truth, random: Random) -> Asked:
    sight = _one_of_each_motion(truth.sights, random)
    return (
        (random.choice(words.MOTION).format(thing=noun(sight)), words.DOES[sight.motion])
        if sight
        else None
    )


def _position(truth: Truth, random: Random) -> Asked:
    if not truth.is_clear or truth.count < 2:
        return None
    left, right = sorted(random.sample(range(truth.count), 2))
    side = random.choice(words.SIDES)
    thing, other = (left, right) if side == 'left' else (right, left)
    return random.choice(words.POSITION).format(
        thing=noun(truth.present[thing]), other=noun(truth.present[other])
    ), f'{side.capitalize()}.'


def _order(truth: Truth, random: Random) -> Asked:
    if not truth.is_clear or truth.count < 2:
        return None
    if random.random() < 0.5:
        names = listed(
            [
                f'{"the" if place else "The"} {noun(sight)}'
                for place, sight in enumerate(truth.present)
            ]
        )
        return random.choice(words.ORDER_ALL), f'{names}.'
    place = random.choice((0, -1))
    template, end = random.choice(list(zip(words.ORDER_END, words.ENDS[place], strict=True)))
    return template.format(end=end), f'The {noun(truth.present[place])}.'


def _yes_no(truth: Truth, random: Random) -> Asked:
    is_yes = random.random() < 0.5
    for ask in random.sample((_exists, _exists, _is_count, _is_side, _is_moving), 5):
        question = ask(truth, random, is_yes)
        if question:
            return question, words.YES if is_yes else words.NO
    return None


def _exists(truth: Truth, random: Random, is_yes: bool) -> str | None:
    if not truth.is_clear or truth.gone:
        return None
    if random.random() < 0.3:
        shapes = [
            shape
            for shape in SHAPES
            if is_yes == any(sight.shape == shape for sight in truth.present)
        ]
        return random.choice(words.EXISTS).format(thing=random.choice(shapes)) if shapes else None
    thing = (
        noun(random.choice(truth.present)) if is_yes and truth.present else _absent(truth, random)
    )
    return random.choice(words.EXISTS).format(thing=thing) if truth.present or not is_yes else None


def _is_count(truth: Truth, random: Random, is_yes: bool) -> str | None:
    number = (
        truth.count
        if is_yes
        else random.choice([number for number in range(2, 6) if number != truth.count])
    )
    if not truth.is_clear or number < 2:
        return None
    return random.choice(words.COUNT_IS).format(number=words.NUMBERS[number])


def _is_side(truth: Truth, random: Random, is_yes: bool) -> str | None:
    asked = _position(truth, random)
    if asked is None:
        return None
    match = re.search(
        r'the (\w+ \w+) left or right of the (\w+ \w+)\?|of the (\w+ \w+) is the (\w+ \w+)\?',
        asked[0],
    )
    assert match is not None
    thing, other = (match[1], match[2]) if match[1] else (match[4], match[3])
    side = normalised(asked[1])
    side = side if is_yes else words.SIDES[1 - words.SIDES.index(side)]
    return random.choice(words.SIDE_IS).format(thing=thing, other=other, side=side)


def _is_moving(truth: Truth, random: Random, is_yes: bool) -> str | None:
    sight = _one_of_each_motion(truth.present, random)
    if sight is None:
        return None
    others = [motion for motion in words.IS_IT if motion != sight.motion]
    if sight.motion in ('stopped', 'appeared'):
        # These move too, in some direction, before they stand still.
        others = ['circle', 'appeared' if sight.motion == 'stopped' else 'circle']
    return random.choice(words.IS_IT[sight.motion if is_yes else random.choice(others)]).format(
        thing=noun(sight)
    )


def _changed(truth: Truth, random: Random) -> Asked:
    if not truth.is_clear:
        return None
    names = [
        f'{"the" if place else "The"} {noun(sight)}' for place, sight in enumerate(truth.changed)
    ]
    return random.choice(words.CHANGED), f'{listed(names)}.' if names else words.NOTHING


def _unanswerable(truth: Truth, random: Random) -> Asked:
    if random.random() < 0.4 and truth.present:
        return random.choice(words.UNKNOWABLE).format(
            thing=noun(random.choice(truth.present))
        ), words.CANNOT_SEE
    absent = _absent(truth, random)
    shapes = [shape for shape in SHAPES if all(sight.shape != shape for sight in truth.sights)]
    colours = [
        colour for colour in COLOURS if all(sight.colour != colour for sight in truth.sights)
    ]
    asked = [
        random.choice(words.MOTION).format(thing=absent),
        random.choice(words.SHAPE_OF).format(colour=random.choice(colours)),
    ]
    if shapes:
        asked.append(random.choice(words.COLOUR_OF).format(shape=random.choice(shapes)))
    if truth.present:
        pair = random.sample((absent, noun(random.choice(truth.present))), 2)
        asked.append(random.choice(words.POSITION).format(thing=pair[0], other=pair[1]))
    return random.choice(asked), words.CANNOT_SEE


def _absent(truth: Truth, random: Random) -> str:
    """Returns a thing that was not seen; every second time it differs from a seen one only in its
    shape or only in its colour.
    """
    seen = {sight.name for sight in truth.sights}
    names = [
        (colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in seen
    ]
    if seen and random.random() < 0.5:
        one = random.choice(sorted(seen))
        names = [name for name in names if (name[0] == one[0]) != (name[1] == one[1])]
    return ' '.join(random.choice(names))


def _is_only(truth: Truth, attribute: str, value: str) -> bool:
    return [getattr(sight, attribute) for sight in truth.sights].count(value) == 1


def _one_of_each_motion(sights: Sequence[Sight], random: Random) -> Sight | None:
    """Returns a clear sight, where each motion that there is has the same chance."""
    clear = [sight for sight in sights if sight.is_clear]
    if not clear:
        return None
    motion = random.choice(sorted({sight.motion for sight in clear}))
    return random.choice([sight for sight in clear if sight.motion == motion])


_ASK: dict[str, Callable[[Truth, Random], Asked]] = {
    'colour': _colour,
    'shape': _shape,
    'count': _count,
    'motion': _motion,
    'position': _position,
    'order': _order,
    'yes_no': _yes_no,
    'changed': _changed,
    'unanswerable': _unanswerable,
}
KINDS = tuple(_ASK)
