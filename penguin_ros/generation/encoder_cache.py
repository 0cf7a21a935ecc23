# SPDX-License-Identifier: Apache-2.0
"""Encodes each frame once, whoever needs it. `SingleFlightEncoder` looks into the `EncoderCache`
first and fills it.

The cache keeps visual features by the content of their frame, bounded in bytes; the handles stay on
the device. It may be used on any thread: a handle may be dropped on each. Encoding belongs to the
worker thread. An encode under way belongs to nobody: whoever needs the frame drives it a slice
further, and when the last one has left it, what was computed so far is dropped.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, MutableSequence, Sequence
from dataclasses import dataclass

from penguin_ros.backends.base.backend import Backend, Features
from penguin_ros.generation.frame_preparation import PreparedFrames, prepared_frames
from penguin_ros.model_inputs import FramePatches


@dataclass(frozen=True)
class EncoderCacheStats:
    """Features of `frames` frames take `bytes` now, at most `max_bytes`. Since the start: frames
    that were asked for and kept (`hits`) or not (`misses`), frames that were encoded to the end
    (`encoded`), and frames that were dropped to keep the bound or did not fit (`evicted`).
    """

    frames: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    encoded: int = 0
    evicted: int = 0


class EncoderCache:
    """Features by the key of their frame. The least recently used are evicted first; with
    `max_bytes` 0 nothing is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards everything below
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._encoded = 0
        self._evicted = 0
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """A number that rises when everything is forgotten."""
        return self._epoch

    def peek(self, key: bytes) -> Features | None:
        """Returns what `get` would, but counts nothing and does not make it recently used."""
        with self._lock:
            return self._kept.get(key)

    def has(self, key: bytes) -> bool:
        """True when a frame's features are kept; see `peek`."""
        return self.peek(key) is not None

    def get(self, key: bytes) -> Features | None:
        """Returns the features of the frame with that key, None when they are not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, features: Features, epoch: int) -> None:
        """Keeps new features, unless they alone exceed the bound, or everything was forgotten after
        `epoch`, in which their encode began.
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
        """Drops all features; what is being encoded now will not be kept."""
        with self._lock:
            self._epoch += 1
            self._kept.clear()
            self._bytes = 0

    def stats(self) -> EncoderCacheStats:
        """Returns a snapshot."""
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
    """An encode under way. `features` are there from the last slice on, until the last user has
    taken them.
    """

    slices: Generator[None, None, list[Features]]
    epoch: int
    users: int = 0
    features: Features | None = None
    is_broken: bool = False


class SingleFlightEncoder:
    """Encodes frames that `cache` does not keep, and puts them there. Generators that need the same
    frame share one encode.
    """

    def __init__(self, backend: Backend, cache: EncoderCache) -> None:
        self._backend = backend
        self._cache = cache
        self._running: dict[bytes, _Encode] = {}

    def encode(
        self, frames: Sequence[FramePatches | None], features: MutableSequence[Features | None]
    ) -> Generator[None, None, int]:
        """Puts a handle into `features` for each frame, None for None; yields after every slice.
        Returns how many frames it encoded.

        What the cache keeps is taken first, so that none of it is evicted while the rest is
        encoded.
        """
        features[:] = [None if frame is None else self._cache.get(frame.key) for frame in frames]
        missing = {
            frame.key: frame
            for frame, found in zip(frames, features, strict=True)
            if frame is not None and found is None and frame.key not in self._running
        }
        with prepared_frames(list(missing.values())) as prepared:
            return (yield from self._encode_missing(frames, features, prepared))

    def _encode_missing(
        self,
        frames: Sequence[FramePatches | None],
        features: MutableSequence[Features | None],
        prepared: PreparedFrames,
    ) -> Generator[None, None, int]:
        encoded = 0
        for index, frame in enumerate(frames):
            if frame is not None and features[index] is None:
                # It may have been encoded during an earlier yield. The name holds no handle at a
                # yield: a thrown error's traceback keeps local names alive, and these would keep
                # the device's memory.
                made = self._cache.peek(frame.key)
                if made is None:
                    prepared.wait(frame)
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
        """Computes one slice; after the last one the features are there and kept."""
        try:
            next(encode.slices)
        except StopIteration as end:
            encode.features = end.value[0]
            self._cache.put(key, end.value[0], encode.epoch)
        except BaseException:
            encode.is_broken = True  # whoever waits for it starts another encode
            if self._running.get(key) is encode:
                del self._running[key]
            raise
