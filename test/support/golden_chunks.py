# SPDX-License-Identifier: Apache-2.0
"""A golden case as frames and chunks of a backend, and how far a result is from the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import Chunk, Features, FeatureSpan
from penguin_ros.model_inputs import FramePatches

CASES = (
    'text',
    'image',
    'image_small',
    'dialogue',
    'video',
    'video_compressed',
    'video_floor',
    'video_still',
)


def error(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def golden_frames(case: Any) -> list[FramePatches]:
    """Returns the frames of a golden case from its pixels."""
    frames, start = [], 0
    for (_, rows, columns), merge_size in zip(case['grid_sizes'], case['merge_sizes'], strict=True):
        end = start + int(rows * columns)
        frames.append(
            FramePatches(case['pixel_values'][start:end], int(rows), int(columns), int(merge_size))
        )
        start = end
    return frames


def golden_chunk(case: Any, features: list[Features], image_token_id: int) -> Chunk:
    """Returns the whole prompt: each frame's features stand in one run."""
    ids, spans = case['input_ids'][0], []
    places = np.flatnonzero(ids == image_token_id)
    for each in features:
        spans.append(FeatureSpan(int(places[0]), each, 0, each.tokens))
        places = places[each.tokens :]
    return Chunk(ids, tuple(spans))
