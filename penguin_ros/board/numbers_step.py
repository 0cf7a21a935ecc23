# SPDX-License-Identifier: Apache-2.0
"""The step that looks at what the engines compute: whether it is finite, whether it is what ONNX
Runtime computed from the same weights, and whether chunks and slots make no difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Logits
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.board.golden import Golden, compute, read_golden
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.steps import Note, StepOrder

CLEAR_MARGIN = 0.05
"""A step counts whose best token won by at least this share of its largest logit: where two are as
good as equal, rounding decides.
"""

TEXT_TOKENS = 48


def run(order: StepOrder, note: Note) -> None:
    """Notes it; what overflows is looked for only where something does."""
    with opened(order) as (backend, bundle):
        found = compute(backend, bundle)
        is_finite = {
            'features': bool(np.isfinite(found.features).all()),
            'logits': bool(np.isfinite(found.logits).all() and np.isfinite(found.margins).all()),
        }
        note(
            {
                'compute': bundle.manifest.precision.compute,
                'linears': bundle.manifest.precision.linears,
                'is_finite': is_finite,
                'largest_feature': _largest(found.features),
                'largest_logit': _largest(found.logits),
            }
        )
        if is_finite['logits']:
            note(differences(backend, bundle))
        golden = read_golden(Path(order.bundle))
        note({'has_golden': golden is not None})
        if golden is not None and found.is_finite:
            note(agreement(found, golden))
    if not found.is_finite:
        note({'overflow': 'the encoder' if not is_finite['features'] else 'the LLM'})
        note(_where(order, bundle, is_finite))


def differences(backend: Backend, bundle: Bundle) -> dict[str, float]:
    """Returns the largest difference of logits, in proportion to the largest one: of a text in
    chunks against the same at once, and of two slots.
    """
    ids = np.random.default_rng(1).integers(0, bundle.shape.vocabulary_size, TEXT_TOKENS)
    whole = _logits(backend, ids, len(ids))
    again = _logits(backend, ids, len(ids), is_second=True)
    chunked = _logits(backend, ids, len(ids) // 3)
    largest = float(np.abs(whole).max()) or 1.0
    return {
        'chunk_difference': float(np.abs(whole - chunked).max()) / largest,
        'slot_difference': float(np.abs(whole - again).max()) / largest,
    }


def agreement(found: Golden, golden: Golden) -> dict[str, Any]:
    """Compares with what must be: cosines, and the share of clear steps with the same best
    token.
    """
    clear = golden.margins >= CLEAR_MARGIN * float(np.abs(golden.logits).max())
    same = found.best == golden.best
    return {
        'feature_cosine': _cosine(found.features, golden.features),
        'logit_cosine': _cosine(found.logits, golden.logits),
        'compared_steps': int(clear.sum()),
        'same_token': float(same[clear].mean()) if clear.any() else 1.0,
    }


def _where(order: StepOrder, bundle: Bundle, is_finite: dict[str, bool]) -> dict[str, Any]:
    """Looks for the first layer of the LLM that overflows, with an engine that gives out each."""
    if not is_finite['features']:
        return {}
    from penguin_ros.board.layer_maxima import first_overflow, layer_maxima
    from penguin_ros.board.micro_step import attempt, open_device

    with open_device() as device:
        found = attempt(lambda: {'maxima': layer_maxima(bundle, device, Path(order.folder))})
    if 'maxima' not in found:
        return {'layers_not_seen': found['why']}
    number = first_overflow(found['maxima'])
    return found | ({} if number is None else {'overflow': f'layer {number} of the LLM'})


def _logits(backend: Backend, ids: np.ndarray, size: int, is_second: bool = False) -> Logits:
    spare = backend.new_slot() if is_second else -1
    slot = backend.new_slot()
    try:
        for start in range(0, len(ids) - size, size):
            backend.forward(slot, Chunk(ids[start : start + size]))
        held = backend.slot_length(slot)
        return backend.forward(slot, Chunk(ids[held:]), (-1,))
    finally:
        backend.free_slot(slot)
        if is_second:
            backend.free_slot(spare)


def _largest(values: np.ndarray) -> float | None:
    largest = float(np.abs(values).max())
    return largest if np.isfinite(largest) else None


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the least cosine of any row."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(-1) / np.maximum(lengths, 1e-30)).min())
