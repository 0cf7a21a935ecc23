# SPDX-License-Identifier: Apache-2.0
"""What stands at each position of a sequence, as numbers that can be compared. Knows prompts, not slots.

Two sequences that agree in the keys of their first n positions have the same keys and values there: a position depends on
what stands at it and before it, and on nothing else.
"""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penguin_ros.model_inputs import ModelInputs

PositionKeys = NDArray[np.int64]
"""(positions, 3): token id, 0, -1 for text; both halves of the frame's key and the row in it for a visual token."""

_TEXT = -1


def no_keys() -> PositionKeys:
    """Of an empty sequence."""
    return np.zeros((0, 3), np.int64)


def text_keys(token_ids: NDArray[np.int64]) -> PositionKeys:
    """Of token ids (n,)."""
    keys = np.zeros((len(token_ids), 3), np.int64)
    keys[:, 0], keys[:, 2] = token_ids, _TEXT
    return keys


def prompt_keys(inputs: ModelInputs) -> PositionKeys:
    """Of a prompt, every visual token told apart by its frame's content."""
    keys = text_keys(np.asarray(inputs.prompt.token_ids, np.int64))
    for start, frame in zip(inputs.prompt.image_starts, inputs.frames, strict=True):
        of_frame = keys[start:start + frame.tokens]
        of_frame[:, :2] = np.frombuffer(frame.key, np.int64)
        of_frame[:, 2] = np.arange(frame.tokens)
    return keys


def visual_end(inputs: ModelInputs) -> int:
    """Where the last frame of a prompt ends: what lies before is worth keeping for the next prompt; 0 without frames."""
    if not inputs.frames:
        return 0
    return inputs.prompt.image_starts[-1] + inputs.frames[-1].tokens


def is_superseded(old: PositionKeys, new: PositionKeys) -> bool:
    """True when a prompt shows the last frame of an earlier one and further frames behind it: time has moved on."""
    shown, before = np.flatnonzero(new[:, 2] != _TEXT), np.flatnonzero(old[:, 2] != _TEXT)
    if not len(shown) or not len(before):
        return False
    is_last = (new[shown, :2] == old[before[-1], :2]).all(axis=1)
    return bool(is_last.any() and not is_last[-1])


def common_length(first: PositionKeys, second: PositionKeys) -> int:
    """Positions from the start on in which both agree."""
    length = min(len(first), len(second))
    differs = (first[:length] != second[:length]).any(axis=1)
    return int(differs.argmax()) if differs.any() else length
