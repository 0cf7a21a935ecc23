# SPDX-License-Identifier: Apache-2.0
"""How far two targets agree on the stored input, as figures.

Nothing is judged here, since int4 and float32 differ by design; only values that are NaN or
infinite are refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penguin_ros.benchmark.engine.answer_arrays import AnswerArrays
from penguin_ros.benchmark.engine.figures import Figure
from penguin_ros.errors import BundleMismatch, InvalidLogits
from penguin_ros.evaluation.agreement import cosine, margins, parting

FED = 'same tokens fed to both'


def agreement_figures(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    """The figures in the order of the table.

    Raises BundleMismatch when the two are not of one model or did not see the same input, and
    InvalidLogits when features or logits are NaN or infinite.
    """
    _check(ours, reference)
    return [*_features(ours, reference), *_logits(ours, reference), *_tokens(ours, reference)]


def _check(ours: AnswerArrays, reference: AnswerArrays) -> None:
    if ours.digest != reference.digest:
        raise BundleMismatch(
            'the two targets were not made of the same checkpoint',
            f'digests {ours.digest[:12]} and {reference.digest[:12]}',
            'Name two of one checkpoint',
        )
    if (
        ours.features.shape != reference.features.shape
        or ours.logits.shape != reference.logits.shape
    ):
        shapes = (
            f'features {arrays.features.shape}, logits {arrays.logits.shape}'
            for arrays in (ours, reference)
        )
        raise BundleMismatch(
            'the two targets cannot be compared',
            ' and '.join(shapes),
            'Give both the same settings',
        )
    for name, arrays in (('first target', ours), ('target it is compared with', reference)):
        if not (np.isfinite(arrays.features).all() and np.isfinite(arrays.logits).all()):
            raise InvalidLogits(
                f'the {name} gives features or logits that are NaN or infinite',
                '',
                'Build it in float32 or bfloat16: the range of float16 may be too small for this '
                'checkpoint',
            )


def _features(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    borders = np.cumsum(reference.frame_tokens)[:-1]
    pairs = zip(
        np.split(ours.features, borders), np.split(reference.features, borders), strict=True
    )
    frames = [cosine(*pair) for pair in pairs]
    return [
        Figure(
            'features, cosine',
            '',
            cosine(ours.features, reference.features),
            'projected features of all frames',
        ),
        Figure('features, worst frame', '', min(frames), f'of {len(frames)} frames'),
    ]


def _logits(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    steps = [cosine(*pair) for pair in zip(ours.logits, reference.logits, strict=True)]
    same = ours.logits.argmax(axis=1) == reference.logits.argmax(axis=1)
    return [
        Figure(
            'logits, cosine',
            '',
            cosine(ours.logits, reference.logits),
            f'{len(steps)} steps, {FED}',
        ),
        Figure(
            'logits, worst step', '', min(steps), f'step {int(np.argmin(steps))} of {len(steps)}'
        ),
        Figure(
            'top-1 agreement',
            '%',
            100 * float(same.mean()),
            f'{int(same.sum())} of {len(same)} steps, {FED}{_margin(same, reference)}',
        ),
    ]


def _margin(same: NDArray[np.bool_], reference: AnswerArrays) -> str:
    """Says how sure the reference was where the other target chose differently."""
    if same.all():
        return ''
    largest = float(margins(reference.logits)[~same].max())
    return f'; where they differ its margin is {largest:.3g} at most'


def _tokens(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    leads = margins(reference.logits).tolist()
    found = parting(ours.greedy.tolist(), reference.greedy.tolist(), leads)
    note = 'greedy, each with its own tokens, up to its stop token'
    if found.is_parted:
        margin = leads[-1] if found.margin is None else found.margin
        note += (
            f"; they part at token {found.shared}, where the other target's margin is {margin:.3g}"
        )
    return [
        Figure(
            'text, tokens before they part',
            '%',
            100 * found.shared / found.longest,
            f'{found.shared} of {found.longest}; {note}',
        )
    ]
