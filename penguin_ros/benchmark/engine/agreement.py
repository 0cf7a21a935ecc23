# SPDX-License-Identifier: Apache-2.0
"""How far two sides agree on the stored input. Knows arrays and figures; nothing is judged, only
what is no number is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penguin_ros.benchmark.engine.answer_arrays import AnswerArrays
from penguin_ros.benchmark.engine.figures import Figure
from penguin_ros.errors import BundleMismatch, InvalidLogits
from penguin_ros.evaluation.agreement import common, cosine
from penguin_ros.evaluation.tolerance import margins

FED = 'same tokens fed to both'


def compare(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    """The figures, in the order of the table. BundleMismatch when the two are not of one model or
    did not see the same input, InvalidLogits when features or logits are no numbers.
    """
    _check(ours, reference)
    return [*_features(ours, reference), *_logits(ours, reference), *_tokens(ours, reference)]


def _check(ours: AnswerArrays, reference: AnswerArrays) -> None:
    if ours.digest != reference.digest:
        raise BundleMismatch(
            'the two sides were not made of the same checkpoint',
            f'digests {ours.digest[:12]} and {reference.digest[:12]}',
            'Name two of one checkpoint',
        )
    if (
        ours.features.shape != reference.features.shape
        or ours.logits.shape != reference.logits.shape
    ):
        shapes = (
            f'features {target.features.shape}, logits {target.logits.shape}'
            for target in (ours, reference)
        )
        raise BundleMismatch(
            'the two sides cannot be compared', ' and '.join(shapes), 'Give both the same settings'
        )
    for name, target in (('the first side', ours), ('the side it is compared with', reference)):
        if not (np.isfinite(target.features).all() and np.isfinite(target.logits).all()):
            raise InvalidLogits(
                f'{name} gives features or logits that are NaN or infinite',
                '',
                'Build it in float32 or bfloat16: the range of float16 may be too small for this checkpoint',
            )


def _features(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    borders = np.cumsum(reference.frame_tokens)[:-1]
    frames = [
        cosine(*pair)
        for pair in zip(
            np.split(ours.features, borders), np.split(reference.features, borders), strict=True
        )
    ]
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
    """How sure the reference was where the other side chose otherwise."""
    if same.all():
        return ''
    return f'; where they differ its margin is {float(margins(reference.logits)[~same].max()):.3g} at most'


def _tokens(ours: AnswerArrays, reference: AnswerArrays) -> list[Figure]:
    count = common(ours.greedy.tolist(), reference.greedy.tolist())
    total = max(len(ours.greedy), len(reference.greedy))
    note = 'greedy, each with its own tokens, up to its stop token'
    if count < total:
        step = min(count, len(reference.logits) - 1)
        note += f"; they part at token {count}, where the other side's margin is {float(margins(reference.logits)[step]):.3g}"
    return [
        Figure(
            'text, tokens before they part', '%', 100 * count / total, f'{count} of {total}; {note}'
        )
    ]
