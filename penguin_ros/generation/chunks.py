# SPDX-License-Identifier: Apache-2.0
"""Cuts a prompt into chunks for the backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Chunk, Features, FeatureSpan
from penguin_ros.errors import TokenCountMismatch
from penguin_ros.model_inputs import FramePatches, ModelInputs


def prompt_chunks(
    inputs: ModelInputs,
    features: Sequence[Features | None],
    size: int,
    part: tuple[int, int] | None = None,
) -> Iterator[Chunk]:
    """Yields the prompt in chunks of `size` positions, the last one maybe shorter; a frame's
    features are cut where a chunk ends.

    No chunk has a single position where more would fit: a pass over one position may round
    otherwise than longer ones do.

    `features` has one handle per frame, in order; TokenCountMismatch when the backend gave another
    number of tokens. `part`: the first position and the one after the last, by default the whole
    prompt; a frame outside it needs no handle.
    """
    if len(features) != len(inputs.frames):
        raise TokenCountMismatch(
            inputs.visual_tokens, sum(item.tokens for item in features if item is not None)
        )
    token_ids = np.asarray(inputs.prompt.token_ids, np.int64)
    first, last = part or (0, len(token_ids))
    placed = []
    for wanted, handle, start in zip(
        needed_frames(inputs, (first, last)), features, inputs.prompt.image_starts, strict=True
    ):
        if wanted is not None:
            if handle is None or handle.tokens != wanted.tokens:
                raise TokenCountMismatch(wanted.tokens, 0 if handle is None else handle.tokens)
            placed.append((start, handle))
    borders = [*range(first, last, size), last]
    if size > 2 and len(borders) > 2 and borders[-1] - borders[-2] == 1:
        borders[-2] -= 1
    return (_chunk(token_ids, placed, begin, end) for begin, end in pairwise(borders))


def needed_frames(inputs: ModelInputs, part: tuple[int, int]) -> list[FramePatches | None]:
    """Returns the frames that have a token in `part`, the positions from the first number up to
    the second; None in place of each other frame.
    """
    return [
        frame if start < part[1] and start + frame.tokens > part[0] else None
        for start, frame in zip(inputs.prompt.image_starts, inputs.frames, strict=True)
    ]


def _chunk(
    token_ids: NDArray[np.int64], placed: Sequence[tuple[int, Features]], begin: int, end: int
) -> Chunk:
    """Returns positions `begin` .. `end` with the part of each frame's features that falls into
    them.
    """
    spans = []
    for start, features in placed:
        low, high = max(start, begin), min(start + features.tokens, end)
        if low < high:
            spans.append(FeatureSpan(low - begin, features, low - start, high - low))
    return Chunk(token_ids[begin:end], tuple(spans))
