# SPDX-License-Identifier: Apache-2.0
"""How two results are compared and how far they may differ. Knows arrays only, not where they come
from.

Float32 is exact to rounding: what is whole numbers must be identical, tokens up to the first step
whose margin (lead of the best logit over the second) is under `margin`, since rounding may turn a
near tie. Other precisions are compared with the same float32 values, so their errors measure the
precision; their bounds only catch what is plainly wrong (unrelated logits lie at an error of about
1.4, and a single step may be thrown far off where attention is nearly tied).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Verdict(Enum):
    """NOT_GIVEN: the case lacks the key; NOT_REACHED: an earlier stage failed so that there is
    nothing to compare; REPORTED: the precision is not judged by a tolerance.
    """

    OK = 'ok'
    FAIL = 'FAIL'
    REPORTED = 'reported'
    NOT_GIVEN = 'not given'
    NOT_REACHED = 'not reached'


@dataclass(frozen=True)
class StageResult:
    """One stage of one case: `error` within `tolerance` or not; both None where nothing was
    compared, `tolerance` where the error is reported only.
    """

    stage: str
    verdict: Verdict
    error: float | None = None
    tolerance: float | None = None
    note: str = ''


@dataclass(frozen=True)
class Tolerance:
    """`pixels` largest absolute difference; `features`, `logits` ||a - b|| / ||b||; `margin` of a
    near tie, in logits.

    `is_judged` False: what the network computes is reported, not judged.
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
    """The bounds of a backend's precision; those of bfloat16 for a coarser one that is not named."""
    return TOLERANCES.get(precision, TOLERANCES['bfloat16'])


def identical(stage: str, ours: Array, reference: Array | None, note: str = '') -> StageResult:
    """Error: entries that differ."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, 0)
    wrong = np.flatnonzero((ours != reference).reshape(-1))
    if wrong.size:
        first = wrong[0]
        note = (
            f'first at {first}: {ours.reshape(-1)[first]} instead of {reference.reshape(-1)[first]}'
        )
    return StageResult(
        stage, Verdict.FAIL if wrong.size else Verdict.OK, float(wrong.size), 0, note
    )


def close(stage: str, ours: Array, reference: Array | None, tolerance: float) -> StageResult:
    """Error: the largest absolute difference."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, tolerance)
    error = float(np.abs(ours.astype(np.float64) - reference).max(initial=0.0))
    return within(stage, error, tolerance)


def relative(stage: str, ours: Array, reference: Array | None, tolerance: float) -> StageResult:
    """Error: ||a - b|| / ||b|| over the whole array."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return _misshaped(stage, ours, reference, tolerance)
    return within(stage, relative_error(ours, reference), tolerance)


def within(stage: str, error: float, tolerance: float, note: str = '') -> StageResult:
    """OK when the error is a number and no larger than the tolerance."""
    return StageResult(
        stage, Verdict.OK if error <= tolerance else Verdict.FAIL, error, tolerance, note
    )


def relative_error(ours: Array, reference: Array) -> float:
    """||a - b|| / ||b|| in float64; 0 when both are all zero."""
    wide = reference.astype(np.float64)
    difference, size = (
        float(np.linalg.norm(ours.astype(np.float64) - wide)),
        float(np.linalg.norm(wide)),
    )
    return difference / size if size > 0 else (0.0 if difference == 0 else float('inf'))


def margins(logits: Array) -> Array:
    """Per row of (rows, vocabulary) the lead of the best logit over the second."""
    best = np.partition(logits, -2, axis=-1)[..., -2:]
    lead: Array = best[..., 1] - best[..., 0]
    return lead


def same_tokens(
    stage: str, ours: list[int], reference: list[int] | None, leads: Array, near_tie: float
) -> StageResult:
    """Tokens must agree up to the first step whose lead is under `near_tie`; error: how many before
    it do not.
    """
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    judged = min(
        len(reference),
        next((step for step, lead in enumerate(leads) if lead < near_tie), len(reference)),
    )
    wrong = [step for step in range(judged) if step >= len(ours) or ours[step] != reference[step]]
    agreeing = sum(own == other for own, other in zip(ours, reference, strict=False))
    note = f'{agreeing} of {len(reference)} agree'
    if judged < len(reference):
        note += f'; judged up to step {judged}, whose margin is {float(leads[judged]):.1e}'
    if wrong:
        note += f'; first difference at step {wrong[0]}'
    return StageResult(stage, Verdict.FAIL if wrong else Verdict.OK, float(len(wrong)), 0, note)


def _misshaped(stage: str, ours: Array, reference: Array, tolerance: float) -> StageResult:
    return StageResult(
        stage,
        Verdict.FAIL,
        float('inf'),
        tolerance,
        f'shape {ours.shape} instead of {reference.shape}',
    )
