# SPDX-License-Identifier: Apache-2.0
"""Events of rules are counted against what was true: found, false, told twice, too late."""

from __future__ import annotations

import pytest

from penguin_ros.evaluation.rule_events import Track, Verdict, judged, true_stretches
from penguin_ros.evaluation.rule_scenes import Held

HELD: dict[str, Held] = {'T': True, 'F': False, '?': None}


def track(held: str, begins: tuple[int, ...] = (), ends: tuple[int, ...] = ()) -> Track:
    return Track('moves', 1, 'x', tuple(HELD[one] for one in held), begins, ends)


@pytest.mark.parametrize(
    ('held', 'stretches'),
    [
        ('FFFF', []),
        ('FFTTF', [(2, 2, 3, 3)]),
        ('F?TT??F', [(1, 2, 3, 5)]),
        ('TT', [(0, 0, 1, 1)]),
        ('FT?TF?F', [(1, 1, 3, 3)]),
        ('TFT', [(0, 0, 0, 0), (2, 2, 2, 2)]),
        ('??', []),
    ],
)
def test_what_is_a_matter_of_opinion_belongs_to_the_event_that_it_touches(
    held: str, stretches: list[tuple[int, int, int, int]]
) -> None:
    assert true_stretches([HELD[one] for one in held]) == stretches


@pytest.mark.parametrize(
    ('seen', 'verdict'),
    [
        (track('FFTTTF', (3,), (5,)), Verdict(1, 1, 0, 0, (1,), (1,))),
        (track('FFTTTF'), Verdict(1, 0, 0, 0, (), ())),
        (track('FFFFFF', (2, 4)), Verdict(0, 0, 2, 0, (), ())),
        (track('FFTTFF', (4,)), Verdict(1, 1, 0, 0, (2,), ())),
        (track('FFTTFF', (5,)), Verdict(1, 0, 1, 0, (), ())),
        (track('F?TTFF', (1,)), Verdict(1, 1, 0, 0, (-1,), ())),
        (track('F??FTT', (2, 5)), Verdict(1, 1, 0, 1, (1,), ())),
        (track('FTTTTT', (2, 4)), Verdict(1, 1, 1, 0, (1,), ())),
    ],
)
def test_each_event_is_found_false_or_a_matter_of_opinion(seen: Track, verdict: Verdict) -> None:
    assert judged(seen) == verdict
