# SPDX-License-Identifier: Apache-2.0
"""Where everything that launches of passes name lies in device memory: buffers, weights, and what
the host shares. Importing this file needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from penguin_ros.backends.cuda.inputs import SharedBlock
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.kernels.buffers import Buffer
from penguin_ros.kernels.passes import Launch, Value


class PassMemory:
    """The buffers of passes, which are zeroed, by name: those that the host shares lie in `blocks`,
    the others are allocated here. What is none of them is a weight.
    """

    def __init__(
        self,
        launch: Launcher,
        weights: DeviceWeights,
        buffers: Iterable[Buffer],
        blocks: Sequence[SharedBlock],
    ) -> None:
        self._launch = launch
        self._weights = weights
        self._places = {name: block.address(name) for block in blocks for name in block.names}
        for buffer in buffers:
            if buffer.name not in self._places:
                self._places[buffer.name] = zeroed(launch, buffer.byte_count)

    def __getitem__(self, name: str) -> int:
        """Returns an address; BundleOutdated when there is no such weight."""
        place = self._places.get(name)
        return self._weights[name] if place is None else place

    def enqueue(self, launches: Iterable[Launch], rows: int, given: Mapping[str, int]) -> None:
        """Queues launches over `rows` rows; `given` are numbers, and what lies elsewhere."""

        def found(value: Value) -> int:
            if isinstance(value, int):
                return value
            return given[value] if value in given else self[value]

        for launch in launches:
            self._launch.in_order(launch.kernel, rows, [found(value) for value in launch.values])


def zeroed(launch: Launcher, byte_count: int) -> int:
    """Returns the address of new memory that is zero."""
    address = launch.device.allocate(byte_count)
    launch.device.zero(address, byte_count)
    return address
