# SPDX-License-Identifier: Apache-2.0
"""The cache on a device: lengths that double, and copies that never pass through the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from penguin_ros.backends.onnxruntime import device_cache
from penguin_ros.backends.onnxruntime.cache import CacheShape
from penguin_ros.backends.onnxruntime.device_cache import DeviceCache
from penguin_ros.backends.onnxruntime.device_memory import HostMemory, Rows

SHAPE = CacheShape(4, 2, 64, 8, np.dtype(np.float16))
ROW_BYTES = 8 * 2


class Buffer:
    """Memory of a device: nothing but its address can be asked for, and it begins with NaN."""

    made: list[Buffer] = []

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self.values = np.full(size, np.nan, dtype)
        Buffer.made.append(self)

    def data_ptr(self) -> int:
        """Returns its address."""
        return self.values.ctypes.data


class CountingMemory(HostMemory):
    """Counts the bytes that are copied and cleared."""

    copied = cleared = 0

    def copy(self, target: Rows, source: Rows) -> None:
        """See HostMemory."""
        self.copied += source.width * source.count
        super().copy(target, source)

    def clear(self, target: Rows) -> None:
        """See HostMemory."""
        self.cleared += target.width * target.count
        super().clear(target)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> CountingMemory:
    memory = CountingMemory()
    monkeypatch.setattr(device_cache, 'memory_of', lambda device: memory)
    monkeypatch.setattr(device_cache, 'SHORTEST', 16)
    return memory


@pytest.fixture
def cache(memory: CountingMemory) -> DeviceCache:
    Buffer.made = []
    values = SimpleNamespace(
        ortvalue_from_shape_and_type=lambda size, dtype, device, number: Buffer(size[0], dtype)
    )
    library: Any = SimpleNamespace(OrtValue=values)
    return DeviceCache(library, SHAPE, 2, 'cuda')


def heads(index: int, tensor: int, length: int) -> np.ndarray:
    """Keys or values of a slot as the graph is shown them."""
    values = Buffer.made[index * SHAPE.tensors + tensor].values
    return values[: 2 * length * 8].reshape(2, length, 8)


def fill(cache: DeviceCache, index: int, held: int) -> list[np.ndarray]:
    """Writes `held` positions of each tensor, and returns them."""
    cache.reserve(index, 0, held)
    rows = np.random.default_rng(held).normal(size=(4, 2, held, 8)).astype(np.float16)
    cache.write(index, 0, rows.ctypes.data, held)
    return list(rows)


def test_lengths_double_and_what_is_held_stays(cache: DeviceCache) -> None:
    rows = fill(cache, 0, 10)
    assert cache.length(0) == 16
    for needed, length in ((16, 16), (17, 32), (33, 64), (64, 64), (20, 64), (11, 16)):
        before = cache.length(0)
        assert cache.reserve(0, 10, needed) is (length != before)
        assert cache.length(0) == length, needed
        for tensor, expected in enumerate(rows):
            assert np.array_equal(heads(0, tensor, length)[:, :10], expected)


def test_nothing_that_is_shown_is_ever_not_finite(cache: DeviceCache) -> None:
    fill(cache, 0, 10)
    for needed in (17, 40, 12):
        cache.reserve(0, 10, needed)
        assert all(np.isfinite(heads(0, each, cache.length(0))).all() for each in range(4))


def test_a_copy_moves_the_positions_it_is_asked_for_and_no_more(
    cache: DeviceCache, memory: CountingMemory
) -> None:
    rows = fill(cache, 0, 40)
    fill(cache, 1, 3)
    memory.copied = memory.cleared = 0
    cache.copy(0, 1, 12)
    assert cache.length(1) == 16 and cache.length(0) == 64
    assert memory.copied == SHAPE.tensors * SHAPE.kv_heads * 12 * ROW_BYTES
    assert memory.cleared == 0
    for tensor, expected in enumerate(rows):
        assert np.array_equal(heads(1, tensor, 16)[:, :12], expected[:, :12])


def test_a_slot_is_cleared_at_its_first_use_and_where_it_was_spoiled(
    cache: DeviceCache, memory: CountingMemory
) -> None:
    full = SHAPE.slot_bytes
    fill(cache, 0, 5)
    assert memory.cleared == full
    fill(cache, 0, 7)
    assert memory.cleared == full
    cache.spoil(0)
    cache.forget(0, 4, 7)
    assert memory.cleared == full + SHAPE.tensors * SHAPE.kv_heads * 3 * ROW_BYTES
    cache.copy(0, 1, 4)
    fill(cache, 1, 5)
    assert memory.cleared > 3 * full, 'a copy of a spoiled slot may be spoiled'
