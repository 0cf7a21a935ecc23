# SPDX-License-Identifier: Apache-2.0
"""What writes text faster on a board, engines or own kernels, and which of two whole backends
answers sooner, from what was measured of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penguin_ros.backends.tensorrt.decode_choice import BY_ENGINES, BY_KERNELS
from penguin_ros.board.result import Facts, Results, facts_of

SIDES = ('with_engines', 'with_kernels')
"""The steps that answer with a whole backend."""

ANSWER_TOKENS = 64
"""Tokens of the answer that two backends are compared by."""

CLEAR_LEAD = 0.05
"""A step counts whose best token led by this share of the largest logit; below that rounding
decides.
"""


def faster(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Returns what writes text faster, engines or kernels, and why; '' where not both were
    measured.
    """
    times = {
        way: {
            position: entry['seconds']
            for position, entry in facts.get(way, {}).get('decode', {}).items()
            if 'seconds' in entry
        }
        for way in (BY_ENGINES, BY_KERNELS)
    }
    both = sorted(set(times[BY_ENGINES]) & set(times[BY_KERNELS]), key=int)
    if not both:
        return '', ''
    sums = {way: sum(found[position] for position in both) for way, found in times.items()}
    best = min(sums, key=lambda way: sums[way])
    shown = ', '.join(
        f'{way} {1e3 * found[both[-1]]:.1f} ms a token at {both[-1]}'
        for way, found in times.items()
    )
    return best, f'decoding by {best}: {shown}'


def sooner(results: Results) -> tuple[str, str]:
    """Returns the backend whose answer about a picture is complete sooner, and why; the only one
    that gave any; '' where two were not asked for.
    """
    sides = [facts_of(results, name) for name in SIDES]
    if not set(SIDES) <= set(results):
        return '', ''
    shared = set.intersection(*(set(_decoded(facts)) for facts in sides))
    times = {
        facts['backend']: seconds
        for facts in sides
        if 'backend' in facts and (seconds := answer_seconds(facts, shared)) is not None
    }
    if not times:
        return '', ''
    best = min(times, key=lambda name: times[name])
    shown = ', '.join(f'{name} {seconds:.2f} s' for name, seconds in times.items())
    words = f'backend {best}: {ANSWER_TOKENS} tokens about a picture take {shown}'
    return best, words if len(times) > 1 else f'{words}; the other one gave no answer'


def answer_seconds(facts: Facts, positions: set[str]) -> float | None:
    """Returns the seconds of an answer, with the mean of a token at these positions, or at all
    where there are none; None where something was not measured.
    """
    tokens = _decoded(facts)
    kept = [seconds for position, seconds in tokens.items() if position in (positions or tokens)]
    first = facts.get('first_token', {}).get('seconds')
    if first is None or not kept:
        return None
    return float(first) + ANSWER_TOKENS * sum(kept) / len(kept)


def same_tokens(results: Results) -> tuple[float, int]:
    """Returns the share of clear steps in which two backends chose the same token, and how many
    steps were clear.
    """
    one, other = (facts_of(results, name).get('chosen', {}) for name in SIDES)
    if 'tokens' not in one or 'tokens' not in other:
        return 1.0, 0
    least = CLEAR_LEAD * one['largest']
    steps = zip(one['tokens'], other['tokens'], one['leads'], strict=False)
    clear = [mine == theirs for mine, theirs, lead in steps if lead >= least]
    return (sum(clear) / len(clear) if clear else 1.0), len(clear)


def _decoded(facts: Facts) -> dict[str, float]:
    """Returns the seconds of a token by position."""
    return {
        position: entry['seconds']
        for position, entry in facts.get('decode', {}).items()
        if 'seconds' in entry
    }
