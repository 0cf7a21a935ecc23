# SPDX-License-Identifier: Apache-2.0
"""How probable tokens are behind a prompt, by brute force: everything is computed anew, in one pass
over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Features
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import run_to_end


def logits_alone(
    backend: Backend,
    inputs: ModelInputs,
    behind: Sequence[int],
    features: list[Features] | None = None,
) -> np.ndarray:
    """Returns (len(behind) + 1, vocabulary) float64: the logits after the prompt, and after each of
    the tokens appended to it. `features` are those of the frames, where they are there already.
    """
    features = features or run_to_end(backend.encode(inputs.frames))
    ids = np.asarray(inputs.prompt.token_ids, np.int64)
    whole = next(iter(prompt_chunks(inputs, features, len(ids))))
    chunk = Chunk(np.concatenate((ids, np.array(behind, np.int64))), whole.spans)
    slot = backend.new_slot()
    try:
        rows = range(len(ids) - 1, len(ids) + len(behind))
        return backend.forward(slot, chunk, rows).astype(np.float64)
    finally:
        backend.free_slot(slot)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the natural logarithms of the probabilities of each row."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def text_probability(
    backend: Backend,
    inputs: ModelInputs,
    token_ids: Sequence[int],
    stops: Sequence[int] = (),
    features: list[Features] | None = None,
) -> float:
    """Returns the probability that exactly these tokens follow the prompt, and then any of `stops`
    where there are such.
    """
    rows = log_softmax(logits_alone(backend, inputs, token_ids, features))
    found = sum(row[token_id] for row, token_id in zip(rows[:-1], token_ids, strict=True))
    return float(np.exp(found) * (np.exp(rows[-1][list(stops)]).sum() if stops else 1))
