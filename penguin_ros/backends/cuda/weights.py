# SPDX-License-Identifier: Apache-2.0
"""The weights of a bundle in device memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.cuda.network_file import NetworkFile
from penguin_ros.errors import BundleOutdated

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

BLOCK_BYTES = 256 * 1024 * 1024
"""Weights are allocated in pieces of about this size: a Jetson's allocator may refuse larger ones
while there is room for all together.
"""

STAGING_BYTES = 16 * 1024 * 1024
"""Pinned memory through which they are copied."""


EMBEDDING = 'llm.embedding'
"""The name of the embedding table, which has a file of its own."""


class DeviceWeights:
    """All tensors of a bundle's weights, by name, and its embedding table; OutOfMemory when there
    is no room. The memory belongs to the device.
    """

    def __init__(self, device: CudaDevice, file: NetworkFile, table: NDArray[np.uint8]) -> None:
        self.byte_count = 0
        self._device = device
        self._addresses: dict[str, int] = {}
        self._staging = device.allocate_host(STAGING_BYTES)
        values = file.map()
        for names, begin, end in _blocks(file):
            address = self._upload(values[begin:end])
            for name in names:
                self._addresses[name] = address + file.tensors[name].offset - begin
        self._addresses[EMBEDDING] = self._upload(table)
        device.free(self._staging.host_address)

    def __getitem__(self, name: str) -> int:
        """Returns the address of a tensor; BundleOutdated when there is none of that name."""
        try:
            return self._addresses[name]
        except KeyError:
            raise BundleOutdated(
                f'the bundle has no weights {name}',
                'it was built by another version of penguin_ros',
                'Build the checkpoint again with --backend cuda',
            ) from None

    def _upload(self, values: NDArray[np.uint8]) -> int:
        address = self._device.allocate(len(values))
        self.byte_count += len(values)
        for start in range(0, len(values), STAGING_BYTES):
            part = values[start : start + STAGING_BYTES]
            self._staging.bytes[: len(part)] = part
            self._device.copy(address + start, self._staging.address, len(part))
            self._device.synchronize()
        return address


def _blocks(file: NetworkFile) -> Iterator[tuple[list[str], int, int]]:
    """Cuts the file into pieces of whole tensors: yields their names, begin and end."""
    names: list[str] = []
    begin = end = 0
    for name, each in sorted(file.tensors.items(), key=lambda item: item[1].offset):
        if names and each.offset + each.byte_count - begin > BLOCK_BYTES:
            yield names, begin, end
            names = []
        if not names:
            begin = each.offset
        names.append(name)
        end = each.offset + each.byte_count
    yield names, begin, end
