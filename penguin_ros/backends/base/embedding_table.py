# SPDX-License-Identifier: Apache-2.0
"""The embedding table of a bundle, memory-mapped: embeddings are looked up on the host, a few rows
at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.manifest import TableSpec
from penguin_ros.checkpoint.safetensors_file import STORAGE
from penguin_ros.checkpoint.tensors import widened


class EmbeddingTable:
    """`rows` embeddings of `columns` numbers in the format of the checkpoint; reading touches the
    pages of the rows asked for only.
    """

    def __init__(self, folder: Path, spec: TableSpec) -> None:
        self.rows = spec.rows
        self.columns = spec.columns
        self._dtype = spec.dtype
        self._values: NDArray[Any] = np.memmap(
            folder / spec.file, STORAGE[spec.dtype], 'r', shape=(spec.rows, spec.columns)
        )

    def read(self, token_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns an exact copy (n, columns) float32; IndexError for an id outside the table."""
        return widened(self._dtype, self._values[np.asarray(token_ids, np.int64)])
