# SPDX-License-Identifier: Apache-2.0
"""Compares the events of a rule with what was true, evaluation by evaluation.

A true event is a stretch of evaluations at which the condition holds; evaluations at which that is
a matter of opinion belong to it where they touch it, and count for nothing elsewhere. It is found
when an event begins during it, or at most `LAG` evaluations after it, since counting takes its
time. A second beginning during the same true event is a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penguin_ros.evaluation.rule_scenes import Held

LAG = 1


@dataclass(frozen=True)
class Track:
    """What a rule did over the evaluations of a scene: whether its condition held at each, and the
    numbers of those at which an event began or ended. `probabilities` led to that.
    """

    kind: str
    seed: int
    condition: str
    held: tuple[Held, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The counts of a track. `delays` are in evaluations from the first one at which the condition
    holds to the beginning of the event, `end_delays` from the last one to its end.
    """

    true_events: int
    found: int
    false: int
    unjudged: int
    delays: tuple[int, ...]
    end_delays: tuple[int, ...]


def judged(track: Track) -> Verdict:
    """Returns the counts of a track."""
    stretches = true_stretches(track.held)
    found: dict[int, int] = {}
    false = unjudged = 0
    for begin in track.begins:
        at = next(
            (place for place, one in enumerate(stretches) if one[0] <= begin <= one[3] + LAG), None
        )
        if at is not None and at not in found:
            found[at] = begin
        elif at is not None or track.held[begin] is False:
            false += 1
        else:
            unjudged += 1
    delays = tuple(begin - stretches[at][1] for at, begin in found.items())
    end_delays = tuple(
        next(end for end in track.ends if end > begin) - stretches[at][2]
        for at, begin in found.items()
        if any(end > begin for end in track.ends)
    )
    return Verdict(len(stretches), len(found), false, unjudged, delays, end_delays)


def true_stretches(held: Sequence[Held]) -> list[tuple[int, int, int, int]]:
    """Returns each true event as the numbers of evaluations (earliest that may belong to it, first
    and last at which it surely holds, latest that may belong to it).
    """
    stretches = []
    place = 0
    while place < len(held):
        end = place
        while end < len(held) and held[end] is not False:
            end += 1
        sure = [at for at in range(place, end) if held[at]]
        if sure:
            stretches.append((place, sure[0], sure[-1], end - 1))
        place = max(end, place) + 1
    return stretches
