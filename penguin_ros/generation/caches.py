# SPDX-License-Identifier: Apache-2.0
"""A backend and what is kept of earlier generations on it: features by frame, KV slots by prompt.

All that is reused is what would be computed again: features depend on their frame alone, keys and
values on the positions before them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from penguin_ros.backends.base.backend import Backend
from penguin_ros.generation.encoder_cache import (
    EncoderCache,
    EncoderCacheStats,
    SingleFlightEncoder,
)
from penguin_ros.generation.prefix_cache import PrefixCache, PrefixCacheStats


@dataclass(frozen=True)
class CacheStats:
    """What both caches hold now and have done since the start."""

    encoder_cache: EncoderCacheStats = field(default_factory=EncoderCacheStats)
    prefix_cache: PrefixCacheStats = field(default_factory=PrefixCacheStats)


class Caches:
    """The caches of one backend; without the arguments they keep nothing.

    They belong to the thread of `backend`, apart from `forget` and `stats`, which may be called on
    any thread. `encoder_cache_bytes` bounds the features that are kept.
    """

    def __init__(
        self, backend: Backend, encoder_cache_bytes: int = 0, is_keeping_slots: bool = False
    ) -> None:
        self.backend = backend
        self.encoder_cache = EncoderCache(encoder_cache_bytes)
        self.encoder = SingleFlightEncoder(backend, self.encoder_cache)
        self.prefix_cache = PrefixCache(backend, is_keeping_slots)

    def forget(self) -> None:
        """Makes what begins later use nothing that was computed until now. KV slots are freed when
        the next prompt comes.
        """
        self.encoder_cache.forget()
        self.prefix_cache.forget()

    def distrust(self, keys: Iterable[bytes]) -> None:
        """Drops the features of frames that may have led to NaN or infinite logits."""
        self.encoder_cache.discard(keys)

    def stats(self) -> CacheStats:
        """Returns a snapshot."""
        return CacheStats(self.encoder_cache.stats(), self.prefix_cache.stats())
