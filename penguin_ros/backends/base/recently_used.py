# SPDX-License-Identifier: Apache-2.0
"""A bounded number of things that are costly to make, by key: recorded passes, bound shapes,
contexts. The least recently used leaves for another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar('Key', bound=Hashable)
Value = TypeVar('Value')


class RecentlyUsed(Generic[Key, Value]):
    """At most `limit` values. `free` is called for each that leaves; one leaves before another is
    made, so that memory for both is never needed.
    """

    def __init__(self, limit: int, free: Callable[[Value], None] = lambda value: None) -> None:
        self.limit = limit
        self.evicted = 0
        self._free = free
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Value]:
        """The values, the least recently used first."""
        return iter(list(self._values.values()))

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Returns the value of `key`, made when there is none."""
        if key not in self._values:
            while len(self._values) >= self.limit:
                self._drop()
                self.evicted += 1
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Drops all."""
        while self._values:
            self._drop()

    def _drop(self) -> None:
        _, value = self._values.popitem(last=False)
        self._free(value)
