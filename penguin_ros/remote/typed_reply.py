# SPDX-License-Identifier: Apache-2.0
"""What the dialect penguin says of answers that have a form, checked against what was asked."""

from __future__ import annotations

import json
import math
from typing import Any

from penguin_ros.remote.failure import ILLEGIBLE, RemoteFailed
from penguin_ros.remote.question import RemoteQuestion, TypedAnswer
from penguin_ros.request import ChosenAnswer, StopReason

ROUNDING = 1e-3


def typed_answer(
    question: RemoteQuestion, said: dict[str, Any], stop_reason: StopReason
) -> TypedAnswer | None:
    """Returns the form of an answer; None where none was asked for. RemoteFailed where the server
    says something else than what was asked.
    """
    if not question.is_typed:
        return None
    confidence = _probability(said.get('confidence', 0.0))
    if question.choices:
        return TypedAnswer(_chosen(question.choices, said.get('chosen')), '', confidence)
    given = said.get('json')
    if stop_reason is StopReason.MAX_TOKENS and not given:
        return TypedAnswer(None, '', confidence)
    try:
        json.loads(given if isinstance(given, str) else '')
    except (ValueError, RecursionError):
        raise RemoteFailed(ILLEGIBLE, 'the server sent no JSON as the answer') from None
    return TypedAnswer(None, str(given), confidence)


def _chosen(choices: tuple[str, ...], said: Any) -> ChosenAnswer:
    said = said if isinstance(said, dict) else {}
    given = said.get('probabilities')
    probabilities = tuple(map(_probability, given)) if isinstance(given, list) else ()
    is_cannot_tell, choice = said.get('is_cannot_tell') is True, said.get('choice')
    if (
        len(probabilities) != len(choices)
        or abs(sum(probabilities) - 1.0) > ROUNDING
        or (choice != '' if is_cannot_tell else choice not in choices)
    ):
        raise RemoteFailed(ILLEGIBLE, 'the server chose none of the choices')
    return ChosenAnswer(
        choice=str(choice),
        choices=choices,
        probabilities=probabilities,
        cannot_tell=_probability(said.get('cannot_tell')),
        is_cannot_tell=is_cannot_tell,
        other_mass=_probability(said.get('other_mass')),
    )


def _probability(said: Any) -> float:
    is_number = isinstance(said, (int, float)) and not isinstance(said, bool)
    if not is_number or not math.isfinite(said) or not -ROUNDING <= said <= 1.0 + ROUNDING:
        raise RemoteFailed(ILLEGIBLE, 'the server sent a probability that is none')
    return float(min(1.0, max(0.0, said)))
