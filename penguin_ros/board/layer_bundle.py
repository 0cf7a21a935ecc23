# SPDX-License-Identifier: Apache-2.0
"""A bundle with one layer of the LLM and one of the encoder in the sizes of the published model and
with random weights, written by the very code that builds bundles; so its graphs are those that
engines are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.board.sizes import BoardSizes
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.configuration import ConfigFiles
from penguin_ros.checkpoint.json_file import JsonFile
from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape
from penguin_ros.checkpoint.tensors import TensorReader
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice
from penguin_ros.testing.random_weights import RandomWeights

VOCABULARY = 512
PROCESSOR = ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 16384, 14, 1, 2, 1.0, 180)


@dataclass(frozen=True, eq=False)
class RandomTensors:
    """Random weights behind the calls with which a checkpoint is read."""

    weights: RandomWeights

    def names(self) -> list[str]:
        """Returns the names of all tensors."""
        return self.weights.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor."""
        return self.weights.shape(name)

    def dtype(self, name: str) -> str:
        """Returns the format of all tensors."""
        return 'F32'

    def read_raw(self, name: str) -> tuple[str, NDArray[np.float32]]:
        """Returns the format and the values."""
        return 'F32', self.weights.tensor(name)

    def read(self, name: str) -> NDArray[np.float32]:
        """Returns the values."""
        return self.weights.tensor(name)

    def fingerprints(self) -> list[str]:
        """Returns nothing: these weights are always the same."""
        return []


def layer_bundle(folder: Path, sizes: BoardSizes, precision: str) -> Bundle:
    """Writes the bundle for TensorRT and opens it."""
    shape = CheckpointShape(
        llm=sizes.llm,
        encoder=sizes.encoder,
        channels=3,
        patch_size=PROCESSOR.patch_size,
        vocabulary_size=VOCABULARY,
        image_token_id=0,
        is_tied=True,
        stop_token_ids=(),
        max_positions=40960,
        processor=PROCESSOR,
    )
    tensors = cast(TensorReader, RandomTensors(RandomWeights(0, shape, [])))
    files = ConfigFiles(folder, JsonFile({}, 'one layer'), None)
    checkpoint = Checkpoint(folder, 'one layer', shape, tensors, files)
    order = BuildOrder(BuildChoice('tensorrt', precision), sizes.length, command='penguin bench')
    return open_bundle(build_bundle(checkpoint, folder / f'layer_{precision}', order))
