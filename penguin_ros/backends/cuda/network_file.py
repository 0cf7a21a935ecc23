# SPDX-License-Identifier: Apache-2.0
"""The weights of a bundle for this backend, as they will lie in device memory: one file, and one
that says what lies where. No CUDA is needed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.manifest import NETWORK
from penguin_ros.errors import BundleCorrupt

WEIGHTS, INDEX = NETWORK, 'network.json'


@dataclass(frozen=True)
class Stored:
    """A tensor: `kind` as `kernels.table` calls number formats, `byte_count` bytes from `offset`
    on.
    """

    kind: str
    shape: tuple[int, ...]
    offset: int
    byte_count: int


@dataclass(frozen=True)
class NetworkFile:
    """The weights of a bundle in `folder`, by name."""

    folder: Path
    tensors: Mapping[str, Stored]

    @property
    def byte_count(self) -> int:
        """The bytes of the file of weights."""
        return max(each.offset + each.byte_count for each in self.tensors.values())

    def map(self) -> NDArray[np.uint8]:
        """Maps the file of weights into memory; BundleCorrupt when it is shorter than it must
        be.
        """
        path = self.folder / WEIGHTS
        values = np.memmap(path, np.uint8, 'r')
        if len(values) < self.byte_count:
            raise BundleCorrupt(
                f'{path} is damaged', f'it has {len(values)} of {self.byte_count} bytes'
            )
        return values


def read_network_file(folder: Path) -> NetworkFile:
    """Reads what the weights of a bundle are; BundleCorrupt when that cannot be read."""
    path = folder / INDEX
    try:
        plain = json.loads(path.read_text(encoding='utf-8'))
        tensors = {
            name: Stored(each['kind'], tuple(each['shape']), each['offset'], each['byte_count'])
            for name, each in plain.items()
        }
        if not tensors:
            raise ValueError('it names no tensor')
        return NetworkFile(folder, tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleCorrupt(
            f'{path} is damaged', str(error), 'Build the checkpoint again with --backend cuda'
        ) from error


def write_network_index(found: NetworkFile) -> None:
    """Writes what the weights are; the weights themselves lie there already."""
    plain = {name: asdict(each) for name, each in found.tensors.items()}
    (found.folder / INDEX).write_text(json.dumps(plain, indent=0) + '\n', encoding='utf-8')
