# SPDX-License-Identifier: Apache-2.0
"""The cache of features: bounded, least recently used first, counted, forgetful on demand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.backends.base.backend import Features
from penguin_ros.generation.encoder_cache import EncoderCache


class Sized(Features):
    def __init__(self, nbytes: int) -> None:
        self.tokens, self.nbytes = 1, nbytes


def filled(max_bytes: int, **sizes: int) -> EncoderCache:
    cache = EncoderCache(max_bytes)
    for key, nbytes in sizes.items():
        cache.put(key.encode(), Sized(nbytes), cache.epoch)
    return cache


def test_what_was_put_in_comes_out_and_is_counted() -> None:
    cache, features = EncoderCache(10), Sized(4)
    assert cache.get(b'a') is None and not cache.has(b'a')
    cache.put(b'a', features, cache.epoch)
    assert cache.has(b'a') and cache.get(b'a') is features
    counts = cache.stats()
    assert (counts.frames, counts.bytes, counts.max_bytes) == (1, 4, 10)
    assert (counts.hits, counts.misses, counts.encoded, counts.evicted) == (1, 1, 1, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache = filled(10, a=4, b=4)
    cache.get(b'a')
    cache.has(b'b')  # no use of it
    cache.put(b'c', Sized(4), cache.epoch)
    assert cache.has(b'a') and not cache.has(b'b') and cache.has(b'c')
    assert cache.stats().evicted == 1


def test_features_larger_than_the_bound_push_nothing_out() -> None:
    cache = filled(10, a=4, b=11)
    assert cache.has(b'a') and not cache.has(b'b') and cache.stats().evicted == 1


def test_features_put_in_again_count_once() -> None:
    cache = filled(10, a=4)
    cache.put(b'a', Sized(6), cache.epoch)
    assert cache.stats().bytes == 6 and cache.stats().frames == 1 and cache.stats().evicted == 0


def test_a_cache_without_bytes_keeps_nothing() -> None:
    assert not filled(0, a=0, b=1).stats().frames


def test_after_forgetting_nothing_is_there_and_nothing_that_was_begun_before_comes_in() -> None:
    cache = filled(10, a=4)
    before = cache.epoch
    cache.forget()
    cache.put(b'b', Sized(4), before)
    assert not cache.has(b'a') and not cache.has(b'b') and cache.stats().bytes == 0
    cache.put(b'b', Sized(4), cache.epoch)
    assert cache.has(b'b')


def test_discarded_features_are_gone() -> None:
    cache = filled(10, a=4, b=4)
    cache.discard([b'a', b'x'])
    assert not cache.has(b'a') and cache.stats().bytes == 4


@given(
    st.integers(0, 30),
    st.lists(
        st.tuples(st.sampled_from('pgdf'), st.integers(0, 6), st.integers(0, 12)), max_size=60
    ),
)
def test_the_bound_holds_and_the_bytes_add_up(
    max_bytes: int, operations: list[tuple[str, int, int]]
) -> None:
    cache, newest, lookups = EncoderCache(max_bytes), dict[bytes, Sized](), 0
    for operation, number, nbytes in operations:
        key = bytes([number])
        if operation == 'p':
            features = Sized(nbytes)
            cache.put(key, features, cache.epoch)
            if nbytes <= max_bytes:  # else the cache keeps what it had
                newest[key] = features
        elif operation == 'g':
            lookups += 1
            found = cache.get(key)
            assert found is None or found is newest[key]
        elif operation == 'd':
            cache.discard([key])
        elif number == 0:
            cache.forget()
        kept = [key for key in newest if cache.has(key)]
        counts = cache.stats()
        assert counts.bytes == sum(newest[key].nbytes for key in kept) <= max_bytes
        assert counts.frames == len(kept) and counts.hits + counts.misses == lookups
