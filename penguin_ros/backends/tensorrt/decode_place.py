# SPDX-License-Identifier: Apache-2.0
"""The one place in memory where slots are decoded with CUDA graphs, and which slot lies there.

A graph holds addresses. If every slot were decoded where it lies, each would need graphs, contexts
and their memory of its own for each length, and make them in the middle of an answer. So graphs
know one place, and a slot that goes on decoding is exchanged with the one that lies there.
"""

from __future__ import annotations

from collections.abc import Callable

from penguin_ros.backends.tensorrt.cache import KvCache


class DecodePlace:
    """The memory in which slot 0 of `cache` lies at first; slots come and go, the memory stays."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._held = 0
        self._asked = -1

    def takes(self, index: int, extent: Callable[[int], int]) -> bool:
        """Returns whether a slot lies in the place for its next step. It comes in at the second
        step in a row that asks for it, so that slots that take turns are not carried to and fro.

        `extent` gives how many positions of a slot matter.
        """
        is_again, self._asked = index == self._asked, index
        if index != self._held and is_again:
            self._cache.exchange(index, self._held, max(extent(index), extent(self._held)))
            self._held = index
        return index == self._held
