# SPDX-License-Identifier: Apache-2.0
"""A backend and what is kept of earlier generations on it: features by frame, KV slots by prompt. Knows no requests.

All that is reused is what would be computed again: features depend on their frame alone, keys and values on the positions before.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from penguin_ros.backends.base.backend import Backend
from penguin_ros.generation.encoder_cache import FeatureCache, FeatureCounts, SharedEncodes
from penguin_ros.generation.prefix_cache import PrefixCache, PrefixCounts


@dataclass(frozen=True)
class ReuseCounts:
    """What both caches hold and have done."""

    features: FeatureCounts = field(default_factory=FeatureCounts)
    prefixes: PrefixCounts = field(default_factory=PrefixCounts)


class Reuse:
    """Belongs to the thread of `backend`, apart from `forget` and `counts`. Keeps nothing unless told to."""

    def __init__(self, backend: Backend, feature_bytes: int = 0, is_keeping_slots: bool = False) -> None:
        self.backend = backend
        self.features = FeatureCache(feature_bytes)
        self.encodes = SharedEncodes(backend, self.features)
        self.prefixes = PrefixCache(backend, is_keeping_slots)

    def forget(self) -> None:
        """Nothing computed until now is used for what begins later. Any thread; KV slots are freed when the next prompt comes."""
        self.features.forget()
        self.prefixes.forget()

    def distrust(self, keys: Iterable[bytes]) -> None:
        """Drops the features of frames that may have led to logits that are no numbers."""
        self.features.discard(keys)

    def counts(self) -> ReuseCounts:
        """A snapshot; any thread."""
        return ReuseCounts(self.features.counts(), self.prefixes.counts())


def reuse_of(backend: Backend | Reuse) -> Reuse:
    """For a backend alone one that keeps nothing."""
    return backend if isinstance(backend, Reuse) else Reuse(backend)
