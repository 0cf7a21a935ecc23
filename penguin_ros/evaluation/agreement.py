# SPDX-License-Identifier: Apache-2.0
"""How far two results agree: where two token sequences part and at which margin, and how far apart
arrays of features or logits are.

Every comparison of this package is made of these measures: the stages of `penguin parity`, the
targets of `penguin bench engine`, and the texts of `penguin bench live`, which must be the same
with reuse and without.

Texts that should be the same are compared as long as both have seen the same tokens. Rounding
differs between passes over other numbers of positions; how far it goes is measured for the model at
hand and given as `rounding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Logits

Array = NDArray[Any]

SMALL_MARGIN = 1e-3
"""Where the best logit leads the second by less, rounding may choose the token."""

ROUNDINGS = 4.0
"""Logits may differ by so many times what rounding was seen to do."""

SAME, UP_TO_MARGIN, UP_TO_ROUNDING, DIFFERENT = (
    'same',
    'same up to a small margin',
    'same up to rounding',
    'DIFFERENT',
)


def cosine(ours: Array, reference: Array) -> float:
    """The cosine of two arrays of any shape, in float64; 1 when both are all zero."""
    a, b = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    sizes = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / sizes if sizes > 0 else float(not a.any() and not b.any())


def relative_error(ours: Array, reference: Array) -> float:
    """||a - b|| / ||b|| in float64; 0 when both are all zero."""
    wide = reference.astype(np.float64)
    difference = float(np.linalg.norm(ours.astype(np.float64) - wide))
    size = float(np.linalg.norm(wide))
    return difference / size if size > 0 else (0.0 if difference == 0 else float('inf'))


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


def margins(logits: Array) -> Array:
    """The lead of the best logit over the second, for each row of (rows, vocabulary)."""
    best = np.partition(logits, -2, axis=-1)[..., -2:]
    lead: Array = best[..., 1] - best[..., 0]
    return lead


def first_small_margin(leads: Array, small: float = SMALL_MARGIN) -> int | None:
    """The first step whose margin is under `small`; None when there is none."""
    found = np.flatnonzero(leads < small)
    return int(found[0]) if len(found) else None


def matching_tokens(ours: Sequence[int], reference: Sequence[int]) -> int:
    """How many places of both sequences hold the same token."""
    return sum(own == other for own, other in zip(ours, reference, strict=False))


@dataclass(frozen=True)
class Parting:
    """Where two token sequences part: their first `shared` tokens are the same, of `longest` tokens
    of the longer one. `margin` is the reference's where they part; None when they do not, or when
    the reference has no logits there.
    """

    shared: int
    longest: int
    margin: float | None

    @property
    def is_parted(self) -> bool:
        """Whether the sequences differ at all."""
        return self.shared < self.longest


def parting(ours: Sequence[int], reference: Sequence[int], leads: Sequence[float]) -> Parting:
    """Compares two token sequences; `leads` are the margins of the reference's steps."""
    pairs = enumerate(zip(ours, reference, strict=False))
    differing = (index for index, (own, other) in pairs if own != other)
    shared = next(differing, min(len(ours), len(reference)))
    longest = max(len(ours), len(reference))
    has_margin = shared < longest and shared < len(leads)
    return Parting(shared, longest, float(leads[shared]) if has_margin else None)


@dataclass(frozen=True)
class TextLogits:
    """A text as the network gave it: the token `ids`, and the `logits` (tokens, vocabulary) that
    each of them was chosen from.
    """

    ids: tuple[int, ...]
    logits: Logits


@dataclass(frozen=True)
class Agreement:
    """How far a text agrees with a reference that it should equal.

    `steps` of the reference's `tokens` could be compared. `parted_at` is the first token that
    differs, where the reference's margin is `margin`; `small_margin_at` is the reference's first
    step under SMALL_MARGIN; both are -1 when there is none. `logit_difference` is the largest of
    all steps compared.
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


def agreement(ours: TextLogits, reference: TextLogits, rounding: float = 0.0) -> Agreement:
    """Compares a text with its reference; `rounding` is how far the logits of this model differ
    when passes are cut differently.
    """
    leads = margins(reference.logits)
    parted = parting(ours.ids, reference.ids, leads.tolist())
    steps = min(parted.shared + 1, len(ours.logits), len(reference.logits))
    difference = np.abs(ours.logits[:steps] - reference.logits[:steps]).max(initial=0.0)
    small = first_small_margin(leads)
    found = Agreement(
        len(reference.ids),
        steps,
        parted.shared if parted.is_parted else -1,
        parted.margin or 0.0,
        -1 if small is None else small,
        float(difference),
        '',
    )
    return replace(found, verdict=_verdict(found, rounding))


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
    """The agreement that says most against what is claimed; None when there is none."""
    order = (SAME, UP_TO_MARGIN, UP_TO_ROUNDING, DIFFERENT)
    return max(
        agreements,
        key=lambda each: (order.index(each.verdict), each.logit_difference),
        default=None,
    )


def in_words(found: Agreement | None) -> str:
    """Describes an agreement in a cell of a table."""
    if found is None:
        return '–'
    where = f'all {found.tokens}'
    if found.parted_at >= 0:
        where = f'{found.parted_at} of {found.tokens}, then margin {found.margin:.1e}'
    complaint = '' if found.is_good else f'{found.verdict}: '
    return f'{complaint}{where}; ±{found.logit_difference:.1e}'


def joined(rows: Sequence[Logits], vocabulary_size: int) -> Logits:
    """The rows of several steps as one array (tokens, vocabulary)."""
    return np.concatenate(rows) if rows else np.zeros((0, vocabulary_size), np.float32)
