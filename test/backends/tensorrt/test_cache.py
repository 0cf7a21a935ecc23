# SPDX-License-Identifier: Apache-2.0
"""Rows of a cache whose pitch grows keep their content, whatever the order of what is done with
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_gpu.installed import Machine, remove, use

from penguin_ros.backends.tensorrt import cache
from penguin_ros.backends.tensorrt.cache import CacheShape, KvCache

SLOTS = 3


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(cache, 'BUCKET', 16)
    monkeypatch.setattr(cache, 'SPARE_BYTES', 1000)
    made = Machine()
    use(made)
    yield made
    remove()


class Model:
    """A cache, and beside it what each slot must hold: (rows, positions) numbers."""

    def __init__(self, machine: Machine, rows: int, max_length: int) -> None:
        from penguin_ros.backends.cuda.device import CudaDevice

        self.device, self.gpu = CudaDevice(), machine.gpu
        self.cache = KvCache(
            self.device, CacheShape(rows, 1, 256, max_length), SLOTS, can_grow=True
        )
        self.held = [np.zeros((rows, 0), np.uint8) for _ in range(SLOTS)]
        self.numbers = np.random.default_rng(0)

    def append(self, index: int, count: int) -> None:
        held = self.held[index]
        count = min(count, self.cache.shape.max_length - held.shape[1])
        if count == 0:
            return
        self.cache.make_room(index, held.shape[1], held.shape[1] + count)
        new = self.numbers.integers(0, 256, (len(held), count), np.uint8)
        strided = self.cache.rows_from(index, held.shape[1])
        self.device.synchronize()
        for row in range(len(held)):
            self.gpu.write(strided.address + row * strided.pitch, np.repeat(new[row], 256))
        self.held[index] = np.concatenate((held, new), 1)

    def truncate(self, index: int, length: int) -> None:
        self.held[index] = self.held[index][:, :length]

    def copy(self, source: int, target: int, length: int) -> None:
        if source != target:
            length = min(length, self.held[source].shape[1])
            self.cache.copy(source, target, length)
            self.held[target] = self.held[source][:, :length]

    def swap(self, first: int, second: int) -> None:
        if first != second:
            length = max(self.held[index].shape[1] for index in (first, second))
            places = [self.cache.tensor(index, 0) for index in (first, second)]
            self.cache.swap(first, second, length)
            assert [self.cache.tensor(index, 0) for index in (second, first)] == places

    def check(self) -> None:
        self.device.synchronize()
        for index, held in enumerate(self.held):
            assert self.cache.pitch(index) >= held.shape[1]
            strided = self.cache.rows_from(index, 0)
            for row, expected in enumerate(held):
                if len(expected):
                    values = self.gpu.view(
                        strided.address + row * strided.pitch, len(expected) * 256
                    )
                    assert np.array_equal(
                        values.reshape(-1, 256), np.repeat(expected[:, None], 256, 1)
                    )


SLOT = st.integers(0, SLOTS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just('append'), SLOT, st.integers(1, 40)),
        st.tuples(st.just('truncate'), SLOT, st.integers(0, 90)),
        st.tuples(st.just('swap'), SLOT, SLOT),
        st.tuples(st.just('copy'), SLOT, SLOT, st.integers(0, 90)),
    ),
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.integers(1, 12), max_length=st.integers(1, 90), steps=STEPS)
def test_content_stays_through_growth_copies_and_truncation(
    machine: Machine, rows: int, max_length: int, steps: list[tuple[Any, ...]]
) -> None:
    model = Model(machine, rows, max_length)
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        model.check()
    model.device.close()


def test_a_long_row_moves_by_less_than_its_length(machine: Machine) -> None:
    """Most rows overlap their own new place; the first ones go through the spare row."""
    model = Model(machine, 20, 96)
    for _ in range(6):
        model.append(1, 16)
        model.check()
    assert model.cache.pitch(1) == 96
    model.device.close()


def test_a_cache_that_is_updated_in_place_keeps_its_pitch(machine: Machine) -> None:
    from penguin_ros.backends.cuda.device import CudaDevice

    device = CudaDevice()
    cache = KvCache(device, CacheShape(4, 2, 256, 90), 1, can_grow=False)
    cache.make_room(0, 0, 1)
    assert cache.pitch(0) == 90 and cache.tensor(0, 3) - cache.tensor(0, 2) == 2 * 90 * 256
    device.synchronize()
    assert not machine.gpu.view(cache.tensor(0, 0), 8 * 90 * 256).any(), 'new memory is zeroed'
    device.close()


@pytest.mark.parametrize(
    ('max_length', 'expected'),
    [
        (1040, [256, 512, 768, 1024, 1040]),
        (2048, [256, 512, 768, 1024, 1536, 2048]),
        (64, [64]),
    ],
)
def test_lengths_lie_twice_as_far_apart_above_1024(max_length: int, expected: list[int]) -> None:
    assert CacheShape(4, 2, 256, max_length).buckets() == expected
