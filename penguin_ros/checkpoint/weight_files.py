# SPDX-License-Identifier: Apache-2.0
"""Which files of a checkpoint hold its weights: one safetensors file, or the shards that an index
names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from penguin_ros.checkpoint.json_file import JsonFile, is_file, read_json
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound

SINGLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'


@dataclass(frozen=True)
class WeightFiles:
    """`paths` are the files in reading order; `promised` are the published names of the tensors
    that the index lists.
    """

    paths: tuple[Path, ...]
    promised: frozenset[str] = frozenset()


def find_weight_files(folder: Path) -> WeightFiles:
    """Returns the single file when there is one, else the index's shards, else every safetensors
    file of the folder.

    CheckpointNotFound when there is none or the index names a missing shard (all of them are
    listed), CheckpointConfigError when the index makes no sense.
    """
    if is_file(folder / SINGLE):
        return WeightFiles((folder / SINGLE,))
    if is_file(folder / INDEX):
        return _from_index(folder, read_json(folder / INDEX).part('weight_map'))
    found = tuple(sorted(path for path in folder.glob('*.safetensors') if is_file(path)))
    if not found:
        raise CheckpointNotFound(
            f'{folder} holds no weights',
            f'neither {SINGLE} nor {INDEX} is there',
            'Download the checkpoint again; weights in other formats than safetensors are not read',
        )
    return WeightFiles(found)


def _from_index(folder: Path, shards: JsonFile) -> WeightFiles:
    names = sorted({_shard_name(shards, tensor) for tensor in shards.values})
    missing = [name for name in names if not is_file(folder / name)]
    if missing:
        raise CheckpointNotFound(
            f'{folder} lacks {", ".join(missing)}',
            f'{INDEX} names {len(names)} weight files',
            'The download is incomplete; download the checkpoint again',
        )
    if not names:
        raise CheckpointConfigError(
            f'{shards.where} is empty', 'it names no weight file', 'Download the checkpoint again'
        )
    return WeightFiles(tuple(folder / name for name in names), frozenset(shards.values))


def _shard_name(shards: JsonFile, tensor: str) -> str:
    name = shards.text(tensor)
    if PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts:
        raise shards.error(tensor, 'a weight file lies inside the checkpoint folder')
    return name
