# SPDX-License-Identifier: Apache-2.0
"""What a coarse precision costs, in numbers that say something about text. Knows arrays only.

Int8 and int4 are not judged by a tolerance: cosine, agreement of the most probable token and perplexity are reported.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.cli.parity_measures import Array, StageResult, Verdict, relative_error


def cosine(ours: Array, reference: Array) -> float:
    """Of two arrays of any shape, in float64; 1 for two that are all zero."""
    a, b = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    sizes = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / sizes if sizes > 0 else float(not a.any() and not b.any())


def perplexity(logits: Array, token_ids: Sequence[int]) -> float:
    """exp of the mean surprise at `token_ids` (n,) under `logits` (n, vocabulary)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    surprise = np.log(np.exp(wide - top[:, None]).sum(axis=1)) + top - wide[np.arange(len(wide)), list(token_ids)]
    return float(np.exp(surprise.mean()))


def reported(stage: str, ours: Array, reference: Array | None, note: str = '') -> StageResult:
    """Error: ||a - b|| / ||b||; the note begins with the cosine. Another shape, or what is no number, fails."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    if ours.shape != reference.shape:
        return StageResult(stage, Verdict.FAIL, float('inf'), None, f'shape {ours.shape} instead of {reference.shape}')
    error = relative_error(ours, reference)
    verdict = Verdict.REPORTED if np.isfinite(error) else Verdict.FAIL
    return StageResult(stage, verdict, error, None, f'cosine {cosine(ours, reference):.5f}' + (f'; {note}' if note else ''))


def token_agreement(stage: str, ours: Sequence[int], reference: Sequence[int] | None) -> StageResult:
    """Error: how many of the reference's tokens are others or missing."""
    if reference is None:
        return StageResult(stage, Verdict.NOT_GIVEN)
    agreeing = sum(own == other for own, other in zip(ours, reference, strict=False))
    note = f'top-1 agreement {agreeing / max(1, len(reference)):.3f}: {agreeing} of {len(reference)}'
    return StageResult(stage, Verdict.REPORTED, float(len(reference) - agreeing), None, note)


def perplexities(stage: str, ours: Array, reference: Array | None, token_ids: Sequence[int]) -> StageResult:
    """Error: how much higher, as a share, our perplexity of the reference's continuation is than its own."""
    count = min(len(ours), len(token_ids)) if reference is None else min(len(ours), len(token_ids), len(reference))
    if reference is None or not count:
        return StageResult(stage, Verdict.NOT_GIVEN)
    own, theirs = perplexity(ours[:count], token_ids[:count]), perplexity(reference[:count], token_ids[:count])
    verdict = Verdict.REPORTED if np.isfinite(own) else Verdict.FAIL
    return StageResult(stage, verdict, own / theirs - 1, None, f'{own:.4f} instead of {theirs:.4f}')
