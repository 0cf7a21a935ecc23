# SPDX-License-Identifier: Apache-2.0
"""Captions of a truth, and the exact way back from a caption to its facts."""

from __future__ import annotations

import random as random_module
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from penguin_ros.simulation import words
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.truth import Name, Sight, Truth

ThingFact = tuple[str, str, str]
"""(colour, shape, motion), with one of motion_seen.SEEN as the motion; a caption that names none
says 'still'.
"""


@dataclass(frozen=True)
class Facts:
    """What a caption claims: its things, how many are in the image, and their order from left to
    right.
    """

    things: frozenset[ThingFact]
    count: int
    order: tuple[Name, ...]

    def claims(self) -> frozenset[tuple[object, ...]]:
        """Returns every single claim: the things, the count, and who is next to whom from left to
        right.
        """
        pairs = (('order', *pair) for pair in pairwise(self.order))
        return frozenset(
            chain((('thing', *thing) for thing in self.things), [('count', self.count)], pairs)
        )


def facts(truth: Truth) -> Facts:
    """Returns what a perfect caption claims."""
    return Facts(
        frozenset((sight.colour, sight.shape, sight.motion) for sight in truth.sights),
        truth.count,
        truth.order,
    )


def caption(truth: Truth, random: random_module.Random | None = None) -> str:
    """Returns a description in English; without `random` in the plainest wording."""
    nouns = [
        f'a {sight.colour} {sight.shape}{_picked(words.AFTER_NOUN[sight.motion], random)}'
        for sight in truth.present
    ]
    templates = words.EMPTY if not nouns else words.ONE if len(nouns) == 1 else words.SEVERAL
    number = words.NUMBERS[len(nouns)]
    first = _picked(templates, random).format(
        number=number, Number=number.capitalize(), list=listed(nouns)
    )
    return ' '.join(
        [first, *(f'A {noun(sight)} {_picked(words.GONE, random)}.' for sight in truth.gone)]
    )


def noun(sight: Sight) -> str:
    """Returns 'red box', for example."""
    return f'{sight.colour} {sight.shape}'


def listed(items: Sequence[str]) -> str:
    """Returns 'a', 'a and b', 'a, b and c', and so on."""
    return ' and '.join([', '.join(items[:-1]), items[-1]] if len(items) > 1 else items)


def parse_caption(text: str) -> Facts | None:
    """Returns the facts of a caption; None when any part of it does not follow the grammar."""
    text = text.strip()
    for pattern in _FIRST:
        match = pattern.match(text)
        if match:
            groups = match.groupdict()
            things = (
                [_thing(part) for part in re.split(r', | and (?=a )', groups['list'])]
                if 'list' in groups
                else []
            )
            gone = list(_GONE.finditer(text, match.end()))
            present = [thing for thing in things if thing]
            if (
                len(present) != len(things)
                or sum(len(found[0]) for found in gone) != len(text) - match.end()
            ):
                return None
            count = (
                words.NUMBERS.index(groups['number'].lower())
                if 'number' in groups
                else len(present)
            )
            left = [(found[1], found[2], 'gone') for found in gone]
            return Facts(frozenset([*present, *left]), count, tuple(thing[:2] for thing in present))
    return None


def _thing(text: str) -> ThingFact | None:
    match = _THING.fullmatch(text)
    return (match[1], match[2], _MOTION_OF[match[3]]) if match and match[3] in _MOTION_OF else None


def _picked(choices: Sequence[str], random: random_module.Random | None) -> str:
    return random.choice(choices) if random else choices[0]


def _pattern(template: str) -> re.Pattern[str]:
    text = re.escape(template)
    numbers = (
        '(?P<number>'
        + '|'.join(words.NUMBERS + tuple(number.capitalize() for number in words.NUMBERS))
        + ')'
    )
    text = re.sub(r'\\{[nN]umber\\}', lambda _: numbers, text)
    return re.compile(text.replace(r'\{list\}', '(?P<list>[^.]+)'))


_NOUN = f'({"|".join(COLOURS)}) ({"|".join(SHAPES)})'
_MOTION_OF = {phrase: motion for motion, phrases in words.AFTER_NOUN.items() for phrase in phrases}
_THING = re.compile(f'a {_NOUN}(.*)')
_FIRST = [_pattern(template) for template in chain(words.EMPTY, words.ONE, words.SEVERAL)]
_GONE = re.compile(f' A {_NOUN} (?:{"|".join(words.GONE)})\\.')
