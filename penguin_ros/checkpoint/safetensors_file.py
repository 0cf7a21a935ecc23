# SPDX-License-Identifier: Apache-2.0
"""One safetensors file: its header, checked, and its data, memory-mapped. Knows no tensor name."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.errors import CheckpointFileCorrupt, CheckpointNotFound

STORAGE: dict[str, np.dtype[Any]] = {'F32': np.dtype('<f4'), 'F16': np.dtype('<f2'), 'BF16': np.dtype('<u2')}
"""How each number format that is read lies in numpy; bfloat16 as its bits."""

LENGTH_BYTES = 8


@dataclass(frozen=True)
class TensorHeader:
    """Where a tensor lies: `dtype` as the file tags it, byte range [begin, end) from the start of the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Every tensor of the file by its published name.

    CheckpointNotFound when there is no such file, CheckpointFileCorrupt when it is truncated or no safetensors file.
    """
    if not is_file(path):
        raise CheckpointNotFound(f'{path} is missing', 'the weights are incomplete', 'Download the checkpoint again')
    _check_with_library(path)
    try:
        with path.open('rb') as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), 'little')
            entries: dict[str, Any] = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(path, error) from error
    entries.pop('__metadata__', None)
    start = LENGTH_BYTES + length
    return {name: TensorHeader(path, str(entry['dtype']), tuple(entry['shape']), start + entry['data_offsets'][0],
                               start + entry['data_offsets'][1]) for name, entry in entries.items()}


def _check_with_library(path: Path) -> None:
    """The library checks lengths, offsets, overlaps and formats, so that the header may be trusted afterwards."""
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework='numpy'):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise corrupt(path, error) from error


def map_tensor(header: TensorHeader) -> NDArray[Any]:
    """The tensor, memory-mapped and read-only, in the storage type of its format."""
    try:
        raw = np.memmap(header.file, np.uint8, 'r', header.begin, (header.end - header.begin,))
    except (OSError, ValueError) as error:
        raise corrupt(header.file, error) from error
    values: NDArray[Any] = np.asarray(raw).view(STORAGE[header.dtype])
    return values.reshape(header.shape)


def corrupt(path: Path, error: Exception) -> CheckpointFileCorrupt:
    """The error for a file that cannot be read to its end."""
    return CheckpointFileCorrupt(f'{path} is damaged', str(error), 'Delete this file and download the checkpoint again')
