# SPDX-License-Identifier: Apache-2.0
"""The tensors of a checkpoint under canonical names, whatever their published layout, sharding and
tying.

What must be there is compared with the headers of the files; values are read only when asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.folder_kind import FIX_QUANTISED, quantised_tensor
from penguin_ros.checkpoint.safetensors_file import (
    STORAGE,
    TensorHeader,
    map_tensor,
    read_headers,
    read_start,
)
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tensor_names import (
    EMBEDDING,
    HEAD,
    PATCH_EMBEDDING,
    canonical_name,
    expected_shapes,
    is_ignored,
    published_name,
)
from penguin_ros.checkpoint.weight_files import WeightFiles
from penguin_ros.errors import CheckpointConfigError, CheckpointTensorError

COMPARE_ELEMENTS = 16 * 1024 * 1024
FINGERPRINT_BYTES = 256


class TensorReader:
    """Reads tensors by canonical name (see tensor_names.py); `path` is the checkpoint folder, which
    errors name.
    """

    def __init__(self, path: Path, files: WeightFiles) -> None:
        self.path = path
        self._headers: dict[str, TensorHeader] = {}
        self._unknown: list[str] = []
        self._is_nested = False
        self._lost = set(files.promised)
        for file in files.paths:
            for published, header in read_headers(file).items():
                self._lost.discard(published)
                self._add(published, header)

    def _add(self, published: str, header: TensorHeader) -> None:
        name = canonical_name(published)
        if is_ignored(published):
            return
        if name is None or name in self._headers:
            self._unknown.append(published if name is None else f'{published} (a second time)')
            return
        self._is_nested = self._is_nested or published.startswith(
            'model.vision_encoder.vision_encoder.'
        )
        self._headers[name] = header

    def names(self) -> list[str]:
        """Returns all canonical names, sorted; the head is included when it is tied."""
        return sorted(self._headers)

    def has(self, name: str) -> bool:
        """Returns whether there is a tensor of that canonical name."""
        return name in self._headers

    def published_shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape in the file; CheckpointTensorError when the tensor is missing."""
        if name not in self._headers:
            raise CheckpointTensorError(str(self.path), missing=[self._published(name)])
        return self._headers[name].shape

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of what `read` and `read_raw` return; the patch embedding is a matrix
        (hidden, channels x patch x patch).
        """
        shape = self.published_shape(name)
        return (shape[0], int(np.prod(shape[1:]))) if name == PATCH_EMBEDDING else shape

    def dtype(self, name: str) -> str:
        """Returns the number format in the file: F32, F16 or BF16."""
        return self._headers[name].dtype

    def nbytes(self) -> int:
        """Returns the bytes of all tensors in the files, where a tied head counts once."""
        return sum(header.end - header.begin for header in set(self._headers.values()))

    def read_raw(self, name: str) -> tuple[str, NDArray[Any]]:
        """Returns the number format and the memory-mapped, read-only values as they are stored;
        BF16 as its bits in uint16.
        """
        header = self._headers[name]
        return header.dtype, map_tensor(header).reshape(self.shape(name))

    def read(self, name: str) -> NDArray[np.float32]:
        """Returns a float32 copy; bfloat16 and float16 are widened exactly."""
        return widened(*self.read_raw(name))

    def check(self, shape: CheckpointShape) -> None:
        """Compares names, shapes and formats with the configuration and ties the head.

        CheckpointTensorError lists everything that does not fit. Values are read only to compare a
        tied head that is stored as well.
        """
        self._check_formats()
        expected = expected_shapes(shape)
        misshaped = [
            problem for name, size in expected.items() for problem in self._problems(name, size)
        ]
        if shape.is_tied and EMBEDDING in self._headers:
            self._headers.setdefault(HEAD, self._headers[EMBEDDING])
        missing = {
            self._published(name)
            for name in expected
            if name not in self._headers and not (shape.is_tied and name == HEAD)
        }
        unknown = self._unknown + [
            self._published(name) for name in self._headers if name not in expected
        ]
        if not missing and not misshaped and shape.is_tied and not self._is_head_equal():
            misshaped = [
                f'{self._published(HEAD)} (differs from {self._published(EMBEDDING)}, '
                'although tie_word_embeddings is true)'
            ]
        if missing or unknown or misshaped or self._lost:
            raise CheckpointTensorError(
                str(self.path), sorted(missing | self._lost), sorted(unknown), misshaped
            )

    def _check_formats(self) -> None:
        """Raises CheckpointConfigError for quantised weights, whose tensors are many and all
        unknown.
        """
        dtypes = {self._published(name): header.dtype for name, header in self._headers.items()}
        names = [name for name in self._unknown if quantised_tensor(name, '')]
        names += [name for name, dtype in dtypes.items() if quantised_tensor(name, dtype)]
        if names:
            raise CheckpointConfigError(
                f'the weights of {self.path} are quantised',
                f'{names[0]} is {dtypes.get(names[0], "a part of quantised weights")}; only '
                'float32, float16 and bfloat16 are read',
                FIX_QUANTISED,
            )

    def _problems(self, name: str, size: tuple[int, ...]) -> list[str]:
        header = self._headers.get(name)
        if header is None:
            return []
        if header.dtype not in STORAGE:
            return [f'{self._published(name)} (is {header.dtype}, must be {", ".join(STORAGE)})']
        if not header.shape or self.shape(name) != size:
            return [f'{self._published(name)} (is {_shown(header.shape)}, must be {_shown(size)})']
        return []

    def _published(self, name: str) -> str:
        return published_name(name, self._is_nested)

    def _is_head_equal(self) -> bool:
        if self._headers[HEAD] == self._headers[EMBEDDING]:
            return True
        (head_type, head), (type_, embedding) = self.read_raw(HEAD), self.read_raw(EMBEDDING)
        rows = max(1, COMPARE_ELEMENTS // head.shape[1])
        return all(
            np.array_equal(
                widened(head_type, head[row : row + rows]),
                widened(type_, embedding[row : row + rows]),
            )
            for row in range(0, head.shape[0], rows)
        )

    def fingerprints(self) -> list[str]:
        """Returns a line per tensor with its name, format, shape and first bytes, which is cheap
        and differs between two trainings.
        """
        return [
            f'{name} {self.dtype(name)} {_shown(self.shape(name))} '
            f'{read_start(self._headers[name], FINGERPRINT_BYTES).hex()}'
            for name in self.names()
        ]


def widened(dtype: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Returns a float32 copy of values in the format that `read_raw` names; the conversion is
    exact, also for NaN and infinity.
    """
    if dtype == 'BF16':
        bits = values.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return np.array(values, dtype=np.float32)


def _shown(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape)) or 'a scalar'
