# SPDX-License-Identifier: Apache-2.0
"""Whether two texts that should be the same are: tokens up to the first small margin, logits at
every step. Measures no time.

A step is compared as long as both have seen the same tokens. Rounding differs between passes over
other numbers of positions; how far, for the model at hand, is measured and given as `rounding`.

What a coarse precision costs, in numbers that say something about text. Knows arrays only.

Int8 and int4 are not judged by a tolerance: cosine, agreement of the most probable token and
perplexity are reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from penguin_ros.backends.base.backend import Logits
from penguin_ros.evaluation.tolerance import Array, StageResult, Verdict, margins, relative_error


def cosine(ours: Array, reference: Array) -> float:
    """Of two arrays of any shape, in float64; 1 for two that are all zero."""
    a, b = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    sizes = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / sizes if sizes > 0 else float(not a.any() and not b.any())


def perplexity(logits: Array, token_ids: Sequence[int]) -> float:
    """exp of the mean surprise at `token_ids` (n,) under `logits` (n, vocabulary)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    surprise = (
        np.log(np.exp(wide - top[:, None]).sum(axis=1))
        + top
        - wide[np.arange(len(wide)), list(token_ids)]
    )
    return float(np.exp(surprise.mean()))


def reported(stage: str, ours: Array, reference: Array | None, note: str = '') -> StageResult:
    """Error: ||a - b|| / ||b||; the note begins with the cosine. Another shape, or what is no
    number, fails.
    """
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return StageResult(
            stage,
            Verdict.FAIL,
            float('inf'),
            None,
            f'shape {ours.shape} instead of {reference.shape}',
        )
    error = relative_error(ours, reference)
    verdict = Verdict.REPORTED if np.isfinite(error) else Verdict.FAIL
    return StageResult(
        stage,
        verdict,
        error,
        None,
        f'cosine {cosine(ours, reference):.5f}' + (f'; {note}' if note else ''),
    )


def token_agreement(
    stage: str, ours: Sequence[int], reference: Sequence[int] | None
) -> StageResult:
    """Error: how many of the reference's tokens are others or missing."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    agreeing = sum(own == other for own, other in zip(ours, reference, strict=False))
    note = (
        f'top-1 agreement {agreeing / max(1, len(reference)):.3f}: {agreeing} of {len(reference)}'
    )
    return StageResult(stage, Verdict.REPORTED, float(len(reference) - agreeing), None, note)


def perplexities(
    stage: str, ours: Array, reference: Array | None, token_ids: Sequence[int]
) -> StageResult:
    """Error: how much higher, as a share, our perplexity of the reference's continuation is than
    its own.
    """
    count = (
        min(len(ours), len(token_ids))
        if reference is None
        else min(len(ours), len(token_ids), len(reference))
    )
    if reference is None or not count:
        return StageResult(stage, Verdict.NOT_GIVEN)
    own, theirs = (
        perplexity(ours[:count], token_ids[:count]),
        perplexity(reference[:count], token_ids[:count]),
    )
    verdict = Verdict.REPORTED if np.isfinite(own) else Verdict.FAIL
    return StageResult(stage, verdict, own / theirs - 1, None, f'{own:.4f} instead of {theirs:.4f}')


SMALL_MARGIN = 1e-3
"""Between the best logit and the second: where it is smaller, rounding may choose the token."""

ROUNDINGS = 4.0
"""Logits may differ by so many times what rounding was seen to do."""

SAME, UP_TO_MARGIN, UP_TO_ROUNDING, DIFFERENT = (
    'same',
    'same up to a small margin',
    'same up to rounding',
    'DIFFERENT',
)


@dataclass(frozen=True)
class Agreement:
    """`steps` of the reference's `tokens` could be compared. `parted_at`: the first token that
    differs, -1: none, where the reference's margin is `margin`; `small_margin_at`: its first step
    under SMALL_MARGIN, -1: none; `logit_difference`: largest of all steps compared.
    """

    tokens: int
    steps: int
    parted_at: int
    margin: float
    small_margin_at: int
    logit_difference: float
    verdict: str

    @property
    def is_good(self) -> bool:
        """Whether nothing but rounding tells the two apart."""
        return self.verdict != DIFFERENT


@dataclass(frozen=True)
class Tokens:
    """A text as the network gave it: `logits` (tokens, vocabulary) that each of `ids` was chosen
    from.
    """

    ids: tuple[int, ...]
    logits: Logits


def agreement(ours: Tokens, reference: Tokens, rounding: float = 0.0) -> Agreement:
    """Of `ours` with `reference`; `rounding`: what logits of this model differ by when passes are
    cut otherwise.
    """
    same = common(ours.ids, reference.ids)
    steps = min(same + 1, len(ours.logits), len(reference.logits))
    is_parted = same < max(len(ours.ids), len(reference.ids))
    margin_of = margins(reference.logits)
    small = np.flatnonzero(margin_of < SMALL_MARGIN)
    difference = float(np.abs(ours.logits[:steps] - reference.logits[:steps]).max(initial=0.0))
    parted_at = same if is_parted else -1
    margin = float(margin_of[same]) if is_parted and same < len(margin_of) else 0.0
    found = Agreement(
        len(reference.ids),
        steps,
        parted_at,
        margin,
        int(small[0]) if len(small) else -1,
        difference,
        '',
    )
    return Agreement(**{**vars(found), 'verdict': _verdict(found, rounding)})


def _verdict(found: Agreement, rounding: float) -> str:
    if not found.logit_difference <= max(SMALL_MARGIN, ROUNDINGS * rounding):  # NaN is no agreement
        return DIFFERENT
    if found.parted_at < 0:
        return SAME
    if 0 <= found.small_margin_at <= found.parted_at:
        return UP_TO_MARGIN
    # A logit may fall by as much as another rises.
    return UP_TO_ROUNDING if found.margin <= 2 * ROUNDINGS * rounding else DIFFERENT


def worst(agreements: Iterable[Agreement]) -> Agreement | None:
    """The one that says most against what is claimed; None of none."""
    order = (SAME, UP_TO_MARGIN, UP_TO_ROUNDING, DIFFERENT)
    return max(
        agreements,
        key=lambda each: (order.index(each.verdict), each.logit_difference),
        default=None,
    )


def in_words(found: Agreement | None) -> str:
    """For a table."""
    if found is None:
        return '–'
    where = f'all {found.tokens}'
    if found.parted_at >= 0:
        where = f'{found.parted_at} of {found.tokens}, then margin {found.margin:.1e}'
    return (
        '' if found.is_good else f'{found.verdict}: '
    ) + f'{where}; ±{found.logit_difference:.1e}'


def joined(rows: Sequence[Logits], vocabulary_size: int) -> Logits:
    """Rows of steps as one array (tokens, vocabulary)."""
    return np.concatenate(rows) if rows else np.zeros((0, vocabulary_size), np.float32)


def common(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Tokens at the beginning that are the same."""
    differing = (
        index for index, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]
    )
    return next(differing, min(len(ours), len(theirs)))
