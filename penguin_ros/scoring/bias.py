# SPDX-License-Identifier: Apache-2.0
"""What each question gets on a neutral clip, where there is nothing to see: kept by question, and
made from the question's own prompt, with grey frames in the place of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from penguin_ros.generation.kv_slot import visual_end
from penguin_ros.model_inputs import FramePatches, ModelInputs, Pixels

KEPT = 1024
"""Questions; the least recently used is forgotten."""

BiasKey = tuple[bytes, tuple[str, ...]]
"""A question's tokens behind the frames, whatever these show, and its choices."""


class KeptBiases:
    """The log masses of each question's choices on a neutral clip, for one model."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[BiasKey, tuple[float, ...]] = OrderedDict()

    def find(self, key: BiasKey) -> tuple[float, ...]:
        """Returns what is kept for a question, () for none; it counts as a use."""
        if key not in self._kept:
            return ()
        self._kept.move_to_end(key)
        return self._kept[key]

    def keep(self, key: BiasKey, log_masses: tuple[float, ...]) -> None:
        """Keeps what a question got."""
        self._kept[key] = log_masses
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def bias_key(inputs: ModelInputs, choices: tuple[str, ...]) -> BiasKey:
    """Names a question."""
    return inputs.prompt.token_ids[visual_end(inputs) :].tobytes(), choices


def neutral_inputs(inputs: ModelInputs) -> ModelInputs:
    """Returns the same prompt, about frames of the same sizes in the grey that lies in the middle
    of the model's normalisation.
    """
    return replace(inputs, frames=tuple(_grey(frame) for frame in inputs.frames))


def _grey(frame: FramePatches) -> FramePatches:
    rows, columns = frame.rows, frame.columns
    patch_values = frame.values.shape[1]

    def pixels() -> Pixels:
        return np.zeros((rows * columns, patch_values), np.float32)

    return FramePatches(pixels, rows, columns, frame.merge_size, frame.type, b'grey')
