# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint with random weights in the published file set, for tests and benchmarks.

What reads checkpoints cannot tell it from a trained one; it answers in words without meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from penguin_ros.atomic_folder import atomic_folder
from penguin_ros.checkpoint.published_shapes import PROCESSOR, PUBLISHED
from penguin_ros.checkpoint.safetensors_file import STORAGE, narrowed, stream_safetensors
from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING, published_name
from penguin_ros.checkpoint.weight_files import INDEX, SINGLE
from penguin_ros.errors import CheckpointError
from penguin_ros.testing.published_files import write_configuration, write_json, write_tokenizer
from penguin_ros.testing.random_tokenizer import random_tokenizer, word_ids
from penguin_ros.testing.random_weights import RandomWeights

DTYPES = {'float32': 'F32', 'bfloat16': 'BF16', 'float16': 'F16'}
LAYOUTS = ('nested', 'flat')
ENCODER_CONFIGS = ('folder', 'inside', 'none')
MAX_SHARDS = 64

SHAPES = {
    'tiny': CheckpointShape(
        llm=TransformerShape(3, 64, 160, 4, 2, 24, 1e6, 1e-6),
        encoder=TransformerShape(3, 48, 96, 4, 2, 16, 1e6, 1e-6),
        channels=3,
        patch_size=14,
        vocabulary_size=640,
        image_token_id=0,
        is_tied=True,
        stop_token_ids=(),
        max_positions=4096,
        processor=PROCESSOR,
    ),
    **PUBLISHED,
}
"""Shapes by name: tiny is for tests, the other two are as large as the published models (4 and
17 GB in bfloat16). The token ids are those of the tokenizer that is written along. In tiny,
head_dim is nowhere hidden_size / heads.
"""


@dataclass(frozen=True)
class Variant:
    """What published checkpoints differ in.

    `encoder_config`: where the encoder's configuration lies, which is in a 'folder' beside the
    weights, 'inside' config.json, or nowhere ('none'); `shards`: number of weight files; `is_tied`:
    whether the head is the embedding, None for what the shape says.
    """

    encoder_config: str = 'folder'
    shards: int = 1
    is_tied: bool | None = None


def write_random_checkpoint(
    folder: str | Path,
    shape: str = 'tiny',
    seed: int = 0,
    layout: str = 'nested',
    dtype: str = 'float32',
    variant: Variant | None = None,
) -> Path:
    """Writes a checkpoint into `folder`, which must not exist yet or be empty, and returns its
    path.

    The folder appears complete or not at all; CheckpointError when it cannot be written. `shape` is
    one of SHAPES, `layout` of LAYOUTS, `dtype` of DTYPES; the same `seed` (from 0) gives the same
    weights.
    """
    variant = variant or Variant()
    folder = Path(folder)
    _check(shape, tuple(SHAPES))
    _check(layout, LAYOUTS)
    _check(dtype, tuple(DTYPES))
    _check(variant.encoder_config, ENCODER_CONFIGS)
    _check(variant.shards, range(1, MAX_SHARDS + 1))
    tokenizer = random_tokenizer()
    is_tied = SHAPES[shape].is_tied if variant.is_tied is None else variant.is_tied
    numbers = _with_tokens(replace(SHAPES[shape], is_tied=is_tied), tokenizer)
    weights = RandomWeights(seed, numbers, word_ids(tokenizer))

    def fill(draft: Path) -> None:
        write_tokenizer(draft, tokenizer)
        write_configuration(draft, numbers, variant.encoder_config, dtype)
        _write_weights(
            draft, _Published(weights, numbers, layout == 'nested', DTYPES[dtype]), variant.shards
        )

    _write_whole(folder, fill)
    return folder


def _check(value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise CheckpointError(
            f'no random checkpoint with {value!r}', f'known: {", ".join(map(str, choices))}'
        )


def _with_tokens(shape: CheckpointShape, tokenizer: dict[str, Any]) -> CheckpointShape:
    ids = {token['content']: token['id'] for token in tokenizer['added_tokens']}
    return replace(
        shape,
        image_token_id=ids['<image>'],
        stop_token_ids=(ids['<|im_end|>'], ids['<|endoftext|>']),
    )


def _write_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills the folder in such a way that an interrupted run leaves nothing that loads."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise CheckpointError(
                f'{folder} is not empty', 'nothing is overwritten', 'Name a new folder'
            )
        with atomic_folder(folder) as staging:
            fill(staging)
    except OSError as error:
        raise CheckpointError(
            f'{folder} cannot be written', str(error), 'Name a folder on a disk with space'
        ) from error


class _Published:
    """The tensors as they are published: under their published names, with a patch embedding of
    four dimensions, and without the head when it is tied.
    """

    def __init__(
        self, weights: RandomWeights, shape: CheckpointShape, is_nested: bool, dtype: str
    ) -> None:
        self._weights = weights
        self._dtype = dtype
        self._canonical = {
            published_name(name, is_nested): name
            for name in weights.names()
            if name != HEAD or not shape.is_tied
        }
        self._patch = (shape.channels, shape.patch_size, shape.patch_size)

    def entries(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Returns number format and shape of each tensor by its published name."""
        shapes = {
            published: self._weights.shape(name) for published, name in self._canonical.items()
        }
        return {
            published: (
                self._dtype,
                (size[0], *self._patch) if self._canonical[published] == PATCH_EMBEDDING else size,
            )
            for published, size in shapes.items()
        }

    def read(self, published: str) -> Iterator[NDArray[Any]]:
        """Yields the values of a tensor in their storage type, in pieces."""
        for values in self._weights.pieces(self._canonical[published]):
            yield narrowed(self._dtype, values)[1]


def _write_weights(folder: Path, tensors: _Published, shards: int) -> None:
    entries = tensors.entries()
    if shards == 1:
        stream_safetensors(folder / SINGLE, entries, tensors.read)
        return
    names = sorted(entries)
    files: dict[str, str] = {}
    for shard in range(shards):
        file = f'model-{shard + 1:05}-of-{shards:05}.safetensors'
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        stream_safetensors(folder / file, {name: entries[name] for name in part}, tensors.read)
        files |= dict.fromkeys(part, file)
    total = sum(math.prod(shape) * STORAGE[dtype].itemsize for dtype, shape in entries.values())
    write_json(folder / INDEX, {'metadata': {'total_size': total}, 'weight_map': files})
