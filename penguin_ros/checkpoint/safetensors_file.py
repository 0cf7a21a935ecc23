# SPDX-License-Identifier: Apache-2.0
"""One safetensors file: its header, checked, and its contents, memory-mapped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.folder_kind import pointer_error
from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.errors import CheckpointFileCorrupt, CheckpointNotFound, system_reason

STORAGE: dict[str, np.dtype[Any]] = {
    'F32': np.dtype('<f4'),
    'F16': np.dtype('<f2'),
    'BF16': np.dtype('<u2'),
}
"""The numpy type in which each supported number format is stored; bfloat16 as its bits."""

LENGTH_BYTES = 8


@dataclass(frozen=True)
class TensorHeader:
    """Where a tensor is stored: `dtype` is the tag in the file, [begin, end) the byte range from
    the start of the file.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Returns every tensor of the file by its published name.

    CheckpointNotFound when there is no such file, CheckpointFileCorrupt when it is truncated or no
    safetensors file.
    """
    if not is_file(path):
        raise CheckpointNotFound(
            f'{path} is missing', 'the weights are incomplete', 'Download the checkpoint again'
        )
    pointer = pointer_error(path)
    if pointer is not None:
        raise pointer
    try:
        with path.open('rb') as file:
            file.read(LENGTH_BYTES)  # the library calls every refusal of the system an absence
        _check_with_library(path)
        with path.open('rb') as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), 'little')
            entries: dict[str, Any] = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(path, error) from error
    entries.pop('__metadata__', None)
    start = LENGTH_BYTES + length
    return {
        name: TensorHeader(
            path,
            str(entry['dtype']),
            tuple(entry['shape']),
            start + entry['data_offsets'][0],
            start + entry['data_offsets'][1],
        )
        for name, entry in entries.items()
    }


def _check_with_library(path: Path) -> None:
    """Lets the library check lengths, offsets, overlaps and formats, so that the header can be
    trusted afterwards.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework='numpy'):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise corrupt(path, error) from error


def map_tensor(header: TensorHeader) -> NDArray[Any]:
    """Returns the tensor, memory-mapped and read-only, in the storage type of its format."""
    try:
        raw = np.memmap(header.file, np.uint8, 'r', header.begin, (header.end - header.begin,))
    except (OSError, ValueError) as error:
        raise corrupt(header.file, error) from error
    values: NDArray[Any] = np.asarray(raw).view(STORAGE[header.dtype])
    return values.reshape(header.shape)


def read_start(header: TensorHeader, max_bytes: int) -> bytes:
    """Returns the first bytes of the tensor, read without mapping it, so that no page around them
    is fetched.
    """
    try:
        with header.file.open('rb', buffering=0) as file:
            file.seek(header.begin)
            return file.read(min(max_bytes, header.end - header.begin))
    except OSError as error:
        raise corrupt(header.file, error) from error


def corrupt(path: Path, error: Exception) -> CheckpointFileCorrupt:
    """Returns the error for a file that cannot be read to its end: it is damaged, or the system
    refuses it.
    """
    if isinstance(error, OSError) and error.errno is not None:
        why, fix = system_reason(error)
        return CheckpointFileCorrupt(f'{path} cannot be read', why, fix)
    return CheckpointFileCorrupt(
        f'{path} is damaged', str(error), 'Delete this file and download the checkpoint again'
    )


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """Writes tensors as `map_tensor` returns them: each with its number format, and its values in
    the storage type.
    """
    stream_safetensors(
        path,
        {name: (dtype, values.shape) for name, (dtype, values) in tensors.items()},
        lambda name: [tensors[name][1]],
    )


def stream_safetensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    read: Callable[[str], Iterable[NDArray[Any]]],
) -> None:
    """Writes tensors of the given number formats and shapes; `read` yields the values of one, in
    whatever pieces, when they are needed.
    """
    header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * STORAGE[dtype].itemsize
        header[name] = {'dtype': dtype, 'shape': list(shape), 'data_offsets': [begin, end]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % LENGTH_BYTES)  # so that the data is aligned
    with path.open('wb') as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, 'little') + text)
        for name, (dtype, _) in tensors.items():
            for values in read(name):
                file.write(np.ascontiguousarray(values, STORAGE[dtype]).tobytes())


def narrowed(dtype: str, values: NDArray[np.float32]) -> tuple[str, NDArray[Any]]:
    """Converts float32 values to the storage type of a number format; bfloat16 is rounded to
    nearest, ties to even.
    """
    if dtype == 'BF16':
        bits = values.view(np.uint32)
        return dtype, ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return dtype, values.astype(STORAGE[dtype])
