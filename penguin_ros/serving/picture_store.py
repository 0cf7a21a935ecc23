# SPDX-License-Identifier: Apache-2.0
"""Pictures that clients have sent, by the uuid that they gave them, apart for each client."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from penguin_ros.frame import Image


@dataclass(frozen=True)
class PictureCounts:
    """What the store holds, and how often a uuid was known to it."""

    pictures: int
    bytes: int
    hits: int
    misses: int
    evicted: int


class PictureStore:
    """Keeps decoded pictures of `max_bytes` in all; the one that was used longest ago is dropped
    first. Any thread.

    A client finds its own pictures only, since a uuid is whatever its sender says.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pictures: OrderedDict[tuple[str, str], tuple[bytes, Image]] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evicted = 0

    def find(self, client: str, uuid: str, digest: bytes | None = None) -> Image | None:
        """Returns the picture, None when it is not kept (any more). With `digest` it must have been
        made of the file that has it, and a miss is none of the uuid's.
        """
        with self._lock:
            kept = self._pictures.get((client, uuid))
            if kept is None or digest not in (None, kept[0]):
                self._misses += digest is None
                return None
            self._hits += 1
            self._pictures.move_to_end((client, uuid))
            return kept[1]

    def keep(self, client: str, uuid: str, picture: Image, digest: bytes = b'') -> None:
        """Keeps a picture in the place of one of the same uuid; one that is too large for the store
        is not kept. `digest`: of the file that it was made of.
        """
        with self._lock:
            self._drop((client, uuid))
            if picture.nbytes > self._max_bytes:
                return
            self._pictures[client, uuid] = digest, picture
            self._bytes += picture.nbytes
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._pictures)))
                self._evicted += 1

    def counts(self) -> PictureCounts:
        """Returns a snapshot."""
        with self._lock:
            return PictureCounts(
                len(self._pictures), self._bytes, self._hits, self._misses, self._evicted
            )

    def _drop(self, key: tuple[str, str]) -> None:
        kept = self._pictures.pop(key, None)
        self._bytes -= 0 if kept is None else kept[1].nbytes
