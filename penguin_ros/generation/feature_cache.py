# SPDX-License-Identifier: Apache-2.0
"""Keeps visual features by the content of their frame, bounded in bytes. Knows handles, not what they were encoded for.

The handles stay on the device. Any thread: dropping a handle is allowed on each.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from penguin_ros.backends.base import Features


@dataclass(frozen=True)
class FeatureCounts:
    """`frames` of `bytes` are kept now, at most `max_bytes`; since the start, frames that were asked for and there (`hits`) or
    not (`misses`), that were encoded to the end, and that left to keep the bound or did not fit (`evicted`)."""

    frames: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    encoded: int = 0
    evicted: int = 0


class FeatureCache:
    """The least recently used go first; `max_bytes` 0 keeps nothing."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards everything below
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._bytes = self._hits = self._misses = self._encoded = self._evicted = 0
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Rises when everything is forgotten."""
        return self._epoch

    def peek(self, key: bytes) -> Features | None:
        """As `get`, but counts nothing and is no use of the features."""
        with self._lock:
            return self._kept.get(key)

    def has(self, key: bytes) -> bool:
        """True when a frame's features are kept; counts nothing and is no use of them."""
        return self.peek(key) is not None

    def get(self, key: bytes) -> Features | None:
        """The features of the frame with that key, if they are kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, features: Features, epoch: int) -> None:
        """Keeps new features, unless all was forgotten since `epoch`, when their encode began, or they alone exceed the bound."""
        with self._lock:
            self._encoded += 1
            if epoch != self._epoch or not self._max_bytes:
                return
            if features.nbytes > self._max_bytes:
                self._evicted += 1
                return
            self._remove(key)
            self._kept[key] = features
            self._bytes += features.nbytes
            while self._bytes > self._max_bytes:
                self._remove(next(iter(self._kept)))
                self._evicted += 1

    def discard(self, keys: Iterable[bytes]) -> None:
        """Drops the features of these frames, where they are kept."""
        with self._lock:
            for key in keys:
                self._remove(key)

    def forget(self) -> None:
        """Drops all, and what is being encoded now will not be kept."""
        with self._lock:
            self._epoch += 1
            self._kept.clear()
            self._bytes = 0

    def counts(self) -> FeatureCounts:
        """A snapshot."""
        with self._lock:
            return FeatureCounts(len(self._kept), self._bytes, self._max_bytes, self._hits, self._misses, self._encoded,
                                 self._evicted)

    def _remove(self, key: bytes) -> None:
        features = self._kept.pop(key, None)
        if features is not None:
            self._bytes -= features.nbytes
