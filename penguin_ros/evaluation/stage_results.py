# SPDX-License-Identifier: Apache-2.0
"""The stages of `penguin parity`: how far each may differ from the reference, and what came of it.

Float32 is exact to rounding: whole numbers must be identical, and tokens up to the first step whose
margin (the lead of the best logit over the second) is under `margin`, since rounding may turn a
near tie. Other precisions are compared with the same float32 values, so their errors measure the
precision. Their bounds only catch what is plainly wrong: unrelated logits lie at an error of about
1.4, and a single step may be thrown far off where attention is nearly tied. What int8 and int4
compute is not judged by a tolerance; cosine, agreement of the most probable token and perplexity
are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from penguin_ros.backends.base.backend import BackendDescription
from penguin_ros.evaluation.agreement import (
    Array,
    cosine,
    first_small_margin,
    matching_tokens,
    perplexity,
    relative_error,
)


class Verdict(Enum):
    """How a stage ended.

    NOT_GIVEN: the case lacks the key. NOT_REACHED: an earlier stage failed, so there is nothing to
    compare. REPORTED: the precision is not judged by a tolerance.
    """

    OK = 'ok'
    FAIL = 'FAIL'
    REPORTED = 'reported'
    NOT_GIVEN = 'not given'
    NOT_REACHED = 'not reached'


@dataclass(frozen=True)
class StageResult:
    """One stage of one case: whether its `error` is within `tolerance`. Both are None where nothing
    was compared, `tolerance` is None where the error is only reported.
    """

    stage: str
    verdict: Verdict
    error: float | None = None
    tolerance: float | None = None
    note: str = ''


@dataclass(frozen=True)
class Tolerance:
    """The bounds of one precision: `pixels` is the largest absolute difference, `features` and
    `logits` are ||a - b|| / ||b||, `margin` is that of a near tie, in logits.

    Where `is_judged` is False, what the network computes is reported and not judged.
    """

    pixels: float
    features: float
    logits: float
    margin: float
    is_judged: bool = True


TOLERANCES = {
    'float32': Tolerance(pixels=1e-6, features=1e-5, logits=1e-4, margin=1e-3),
    'float16': Tolerance(pixels=1e-6, features=1e-2, logits=1e-1, margin=0.1),
    'bfloat16': Tolerance(pixels=1e-6, features=5e-2, logits=5e-1, margin=0.5),
    'int8': Tolerance(pixels=1e-6, features=1.0, logits=1.0, margin=0.0, is_judged=False),
    'int4': Tolerance(pixels=1e-6, features=1.0, logits=1.0, margin=0.0, is_judged=False),
}


def tolerance_of(precision: str) -> Tolerance:
    """The bounds of a precision; a coarser one that is not named gets those of bfloat16."""
    return TOLERANCES.get(precision, TOLERANCES['bfloat16'])


@dataclass(frozen=True)
class ParityRun:
    """The stages of every case, by its name, on the backend of `description`."""

    description: BackendDescription
    cases: Mapping[str, Sequence[StageResult]]

    @property
    def tolerance(self) -> Tolerance:
        """The bounds that the stages were held against."""
        return tolerance_of(self.description.precision)

    @property
    def is_passed(self) -> bool:
        """Whether no stage is beyond its tolerance."""
        bad = (Verdict.FAIL, Verdict.NOT_REACHED)
        return not any(stage.verdict in bad for stages in self.cases.values() for stage in stages)


def identical(stage: str, ours: Array, reference: Array | None, note: str = '') -> StageResult:
    """Requires equal arrays; the error is the number of entries that differ."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, 0)
    wrong = np.flatnonzero((ours != reference).reshape(-1))
    if wrong.size:
        own, other = (array.reshape(-1)[wrong[0]] for array in (ours, reference))
        note = f'first at {wrong[0]}: {own} instead of {other}'
    verdict = Verdict.FAIL if wrong.size else Verdict.OK
    return StageResult(stage, verdict, float(wrong.size), 0, note)


def close(stage: str, ours: Array, reference: Array | None, tolerance: float) -> StageResult:
    """Requires close arrays; the error is the largest absolute difference."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, tolerance)
    error = float(np.abs(ours.astype(np.float64) - reference).max(initial=0.0))
    return within(stage, error, tolerance)


def relative(stage: str, ours: Array, reference: Array | None, tolerance: float) -> StageResult:
    """Requires close arrays; the error is ||a - b|| / ||b|| over the whole array."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, tolerance)
    return within(stage, relative_error(ours, reference), tolerance)


def within(stage: str, error: float, tolerance: float, note: str = '') -> StageResult:
    """Passes when the error is a number and no larger than the tolerance."""
    verdict = Verdict.OK if error <= tolerance else Verdict.FAIL
    return StageResult(stage, verdict, error, tolerance, note)


def same_tokens(
    stage: str, ours: list[int], reference: list[int] | None, leads: Array, near_tie: float
) -> StageResult:
    """Requires equal tokens up to the first step whose margin in `leads` is under `near_tie`; the
    error is how many before it differ.
    """
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    tie = first_small_margin(leads, near_tie)
    judged = len(reference) if tie is None else min(tie, len(reference))
    wrong = [step for step in range(judged) if step >= len(ours) or ours[step] != reference[step]]
    note = f'{matching_tokens(ours, reference)} of {len(reference)} agree'
    if judged < len(reference):
        note += f'; judged up to step {judged}, whose margin is {float(leads[judged]):.1e}'
    if wrong:
        note += f'; first difference at step {wrong[0]}'
    return StageResult(stage, Verdict.FAIL if wrong else Verdict.OK, float(len(wrong)), 0, note)


def reported(stage: str, ours: Array, reference: Array | None, note: str = '') -> StageResult:
    """Reports ||a - b|| / ||b|| as the error and the cosine in the note. Another shape, or values
    that are NaN or infinite, still fail.
    """
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, None)
    error = relative_error(ours, reference)
    verdict = Verdict.REPORTED if np.isfinite(error) else Verdict.FAIL
    words = f'cosine {cosine(ours, reference):.5f}' + (f'; {note}' if note else '')
    return StageResult(stage, verdict, error, None, words)


def reported_tokens(
    stage: str, ours: Sequence[int], reference: Sequence[int] | None
) -> StageResult:
    """Reports how many of the reference's tokens differ or are missing."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    same, count = matching_tokens(ours, reference), len(reference)
    note = f'top-1 agreement {same / max(1, count):.3f}: {same} of {count}'
    return StageResult(stage, Verdict.REPORTED, float(count - same), None, note)


def reported_perplexity(
    stage: str, ours: Array, reference: Array | None, token_ids: Sequence[int]
) -> StageResult:
    """Reports by which share our perplexity of the reference's continuation is above its own."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    count = min(len(ours), len(token_ids), len(reference))
    if not count:
        return StageResult(stage, Verdict.NOT_GIVEN)
    own = perplexity(ours[:count], token_ids[:count])
    theirs = perplexity(reference[:count], token_ids[:count])
    verdict = Verdict.REPORTED if np.isfinite(own) else Verdict.FAIL
    return StageResult(stage, verdict, own / theirs - 1, None, f'{own:.4f} instead of {theirs:.4f}')


def _misshaped(stage: str, ours: Array, reference: Array, tolerance: float | None) -> StageResult:
    note = f'shape {ours.shape} instead of {reference.shape}'
    return StageResult(stage, Verdict.FAIL, float('inf'), tolerance, note)
