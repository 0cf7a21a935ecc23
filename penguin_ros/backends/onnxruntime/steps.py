# SPDX-License-Identifier: Apache-2.0
"""One run of the LLM's graph as a value, and the arrays that the graph takes for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.token_tree import RowLayout

NEW = 'new_kv'
"""The output in which the graph that does not write to the cache returns keys and values."""


@dataclass(frozen=True, eq=False)
class Step:
    """`embeddings` (rows, hidden_size) go behind the `past` positions of the slot `index`; logits
    of the rows `wanted` are asked for. `layout`: how the rows follow each other where they do not
    stand in line.
    """

    index: int
    past: int
    embeddings: NDArray[Any]
    wanted: Sequence[int]
    layout: RowLayout | None = None


@dataclass(frozen=True)
class StepGraph:
    """What the two forms of the graph take: activations of `dtype`, and, where they write in place
    (`is_in_place`), the place to write to.
    """

    dtype: np.dtype[Any]
    vocabulary_size: int
    is_in_place: bool

    def inputs(self, step: Step, length: int) -> dict[str, NDArray[Any]]:
        """Returns the arrays of a step, keys and values aside; the slot shows `length`
        positions.
        """
        rows, past, layout = len(step.embeddings), step.past, step.layout
        offsets = np.arange(rows) if layout is None else layout.offsets
        inputs: dict[str, NDArray[Any]] = {
            'inputs_embeds': step.embeddings.astype(self.dtype, copy=False)[None],
            'position_ids': (past + offsets).astype(np.int64)[None],
            'logits_indices': np.array(step.wanted, np.int64),
            'attention_mask': self._mask(step, length),
        }
        if self.is_in_place:
            inputs['write_indices'] = np.array([past], np.int64)
        return {name: np.ascontiguousarray(values) for name, values in inputs.items()}

    def _mask(self, step: Step, length: int) -> NDArray[np.bool_]:
        """Returns the mask by which each row sees what the slot holds, itself and the rows before
        it: (1, 1, rows, length), and for the form that does not write the cache first, then the new
        positions.
        """
        rows, past = len(step.embeddings), step.past
        own = np.tri(rows, dtype=bool) if step.layout is None else step.layout.sees
        if not self.is_in_place:
            cached = np.broadcast_to(np.arange(length) < past, (rows, length))
            return np.concatenate((cached, own), 1)[None, None]
        mask = np.zeros((1, 1, rows, length), bool)
        mask[..., :past] = True
        mask[..., past : past + rows] = own
        return mask


def past_name(number: int) -> str:
    """Returns the graph's name of the tensor `number` of the cache, without past or present."""
    return f'{"value" if number % 2 else "key"}_{number // 2}'
