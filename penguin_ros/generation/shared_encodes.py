# SPDX-License-Identifier: Apache-2.0
"""Encodes each frame once, whoever needs it: kept features, encodes under way that several requests drive. Knows no prompts.

Worker thread. An encode belongs to nobody: who needs the frame drives it a slice further, and when the last one has left
it, what was computed so far is dropped.
"""
from __future__ import annotations

from collections.abc import Generator, MutableSequence, Sequence
from dataclasses import dataclass

from penguin_ros.backends.base import Backend, Features
from penguin_ros.generation.feature_cache import FeatureCache
from penguin_ros.model_inputs import FramePatches


@dataclass(eq=False)
class _Encode:
    """`features` from the last slice on, until the last user has taken them."""

    slices: Generator[None, None, list[Features]]
    epoch: int
    users: int = 0
    features: Features | None = None
    is_broken: bool = False


class SharedEncodes:
    """Fills `cache` and looks into it first."""

    def __init__(self, backend: Backend, cache: FeatureCache) -> None:
        self._backend, self._cache = backend, cache
        self._running: dict[bytes, _Encode] = {}

    def encode(self, frames: Sequence[FramePatches | None],
               features: MutableSequence[Features | None]) -> Generator[None, None, int]:
        """Puts a handle into `features` for each frame, None for None; yields after every slice. Returns how many it encoded.

        What is kept is taken first, so that nothing of it leaves while the rest is encoded.
        """
        features[:] = [None if frame is None else self._cache.get(frame.key) for frame in frames]
        encoded = 0
        for index, frame in enumerate(frames):
            if frame is not None and features[index] is None:
                # It may have come while this generator rested. The name holds no handle at a yield: a thrown error's traceback
                # keeps local names alive, and these would keep the device's memory.
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
            encode = self._running[frame.key] = _Encode(self._backend.encode([frame]), self._cache.epoch)
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
