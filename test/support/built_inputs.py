# SPDX-License-Identifier: Apache-2.0
"""Makes prompts with frames, without tokenizer or preprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.model_inputs import FramePatches, ModelInputs, Prompt

IMAGE = 500


def frame(rows: int, columns: int, merge_size: int = 2, seed: int = 0) -> FramePatches:
    """A frame of noise."""
    pixels = np.random.default_rng(seed).standard_normal((rows * columns, 588)).astype(np.float32)
    return FramePatches(pixels, rows, columns, merge_size)


def inputs(parts: Sequence[int | FramePatches]) -> ModelInputs:
    """A prompt of token ids and frames in order; a frame takes one position per visual token."""
    ids: list[int] = []
    starts = []
    for part in parts:
        if isinstance(part, FramePatches):
            starts.append(len(ids))
            ids += [IMAGE] * part.tokens
        else:
            ids.append(part)
    frames = tuple(part for part in parts if isinstance(part, FramePatches))
    return ModelInputs(Prompt('', np.array(ids, np.int64), tuple(starts)), frames, IMAGE)
