# SPDX-License-Identifier: Apache-2.0
"""The shape of the simulation's model, and its checkpoint in the published file set."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from penguin_sim_words import sim_tokenizer

from penguin_ros.checkpoint.safetensors_file import narrowed, write_safetensors
from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import (
    HEAD,
    PATCH_EMBEDDING,
    expected_shapes,
    published_name,
)
from penguin_ros.checkpoint.weight_files import SINGLE
from penguin_ros.testing.published_files import write_configuration, write_tokenizer

PROCESSOR = ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 16384, 14, 1, 2, 1.0, 180)
STACK = TransformerShape(
    layers=4,
    hidden_size=256,
    ffn_size=512,
    heads=4,
    kv_heads=2,
    head_dim=64,
    rope_theta=1e6,
    norm_eps=1e-6,
)
MAX_POSITIONS, ROUND_VOCABULARY = 4096, 128


def sim_shape(tokenizer: Mapping[str, Any]) -> CheckpointShape:
    """Returns the sizes of the model; the inputs of every matrix product are a multiple of 128,
    except those of the patches, which are 588 by the architecture.
    """
    ids = {token['content']: token['id'] for token in tokenizer['added_tokens']}
    size = -(-(max(ids.values()) + 1) // ROUND_VOCABULARY) * ROUND_VOCABULARY
    return CheckpointShape(
        STACK,
        STACK,
        3,
        14,
        size,
        ids['<image>'],
        True,
        (ids['<|im_end|>'], ids['<|endoftext|>']),
        MAX_POSITIONS,
        PROCESSOR,
    )


def write_sim_checkpoint(folder: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes or replaces the checkpoint's files in `folder`, each whole or not at all; `tensors`
    are by canonical name.
    """
    tokenizer = sim_tokenizer()
    shape = sim_shape(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        write_tokenizer(draft, tokenizer)
        write_configuration(draft, shape, 'inside', 'float16')
        write_safetensors(
            draft / SINGLE,
            {
                published_name(name): ('F16', _half(name, tensors[name], shape))
                for name in expected_shapes(shape)
                if name != HEAD
            },
        )
        for path in sorted(draft.iterdir(), key=lambda path: path.name == SINGLE):  # weights last
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _half(name: str, values: NDArray[np.float32], shape: CheckpointShape) -> NDArray[Any]:
    if name == PATCH_EMBEDDING:
        values = values.reshape(-1, shape.channels, shape.patch_size, shape.patch_size)
    return narrowed('F16', values)[1]
