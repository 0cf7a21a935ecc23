# SPDX-License-Identifier: Apache-2.0
"""Encodes each frame once, whoever needs it: kept features, encodes under way that several requests
drive. Knows no prompts.

Worker thread. An encode belongs to nobody: who needs the frame drives it a slice further, and when
the last one has left it, what was computed so far is dropped.

Keeps visual features by the content of their frame, bounded in bytes. Knows handles, not what they
were encoded for.

The handles stay on the device. Any thread: dropping a handle is allowed on each.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, MutableSequence, Sequence
from dataclasses import dataclass

from penguin_ros.backends.base.backend import Backend, Features
from penguin_ros.model_inputs import FramePatches


@dataclass(frozen=True)
class EncoderCacheStats:
    """`frames` of `bytes` are kept now, at most `max_bytes`; since the start, frames that were
    asked for and there (`hits`) or not (`misses`), that were encoded to the end, and that left to
    keep the bound or did not fit (`evicted`).
    """

    frames: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    encoded: int = 0
    evicted: int = 0


class EncoderCache:
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
        """Keeps new features, unless all was forgotten since `epoch`, when their encode began, or
        they alone exceed the bound.
        """
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

    def stats(self) -> EncoderCacheStats:
        """A snapshot."""
        with self._lock:
            return EncoderCacheStats(
                len(self._kept),
                self._bytes,
                self._max_bytes,
                self._hits,
                self._misses,
                self._encoded,
                self._evicted,
            )

    def _remove(self, key: bytes) -> None:
        features = self._kept.pop(key, None)
        if features is not None:
            self._bytes -= features.nbytes


@dataclass(eq=False)
class _Encode:
    """`features` from the last slice on, until the last user has taken them."""

    slices: Generator[None, None, list[Features]]
    epoch: int
    users: int = 0
    features: Features | None = None
    is_broken: bool = False


class SingleFlightEncoder:
    """Fills `cache` and looks into it first."""

    def __init__(self, backend: Backend, cache: EncoderCache) -> None:
        self._backend, self._cache = backend, cache
        self._running: dict[bytes, _Encode] = {}

    def encode(
        self, frames: Sequence[FramePatches | None], features: MutableSequence[Features | None]
    ) -> Generator[None, None, int]:
        """Puts a handle into `features` for each frame, None for None; yields after every slice.
        Returns how many it encoded.

        What is kept is taken first, so that nothing of it leaves while the rest is encoded.
        """
        features[:] = [None if frame is None else self._cache.get(frame.key) for frame in frames]
        encoded = 0
        for index, frame in enumerate(frames):
            if frame is not None and features[index] is None:
                # It may have come while this generator rested. The name holds no handle at a yield:
                # a thrown error's traceback keeps local names alive, and these would keep the
                # device's memory.
                made = self._cache.peek(frame.key)
                if made is None:
                    made = yield from self._encoded(frame)
                    encoded += 1
                for other in range(index, len(frames)):
                    if (twin := frames[other]) is not None and twin.key == frame.key:
                        features[other] = made
        return encoded

    def _encoded(self, frame: FramePatches) -> Generator[None, None, Features]:
        while True:
            encode = self._joined(frame)
            try:
                while encode.features is None and not encode.is_broken:
                    self._advance(frame.key, encode)
                    if encode.features is None:
                        yield
                if encode.features is not None:
                    return encode.features
            finally:
                self._leave(frame.key, encode)

    def _joined(self, frame: FramePatches) -> _Encode:
        encode = self._running.get(frame.key)
        if encode is None or encode.epoch != self._cache.epoch:
            encode = self._running[frame.key] = _Encode(
                self._backend.encode([frame]), self._cache.epoch
            )
        encode.users += 1
        return encode

    def _leave(self, key: bytes, encode: _Encode) -> None:
        encode.users -= 1
        if not encode.users:
            encode.slices.close()
            encode.features = None
            if self._running.get(key) is encode:
                del self._running[key]

    def _advance(self, key: bytes, encode: _Encode) -> None:
        """One slice; after the last one the features are there and kept."""
        try:
            next(encode.slices)
        except StopIteration as end:
            encode.features = end.value[0]
            self._cache.put(key, end.value[0], encode.epoch)
        except BaseException:
            encode.is_broken = True  # others that wait for it begin anew
            if self._running.get(key) is encode:
                del self._running[key]
            raise
