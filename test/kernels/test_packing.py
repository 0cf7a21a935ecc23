# SPDX-License-Identifier: Apache-2.0
"""Weights as the kernels read them."""

from __future__ import annotations

import numpy as np
import pytest
from support.kernel_runs import some_matrix

from penguin_ros.export.quantisation import packed
from penguin_ros.kernels.packing import from_bundle, pack, unpack, weights_of


@pytest.mark.parametrize('bits', (4, 8))
def test_unpacking_gives_what_was_packed_and_zeros_around_it(bits: int) -> None:
    half = 1 << (bits - 1)
    values = np.random.default_rng(0).integers(-half, half, (70, 200)).astype(np.int8)
    scales = np.ones((70, 2), np.float16)
    found = unpack(pack(values, scales, bits))
    assert found.shape == (128, 256)
    np.testing.assert_array_equal(found[:70, :200], values)
    assert not found[70:].any() and not found[:, 200:].any()


@pytest.mark.parametrize('bits', (4, 8))
def test_a_word_holds_every_sixteenth_input_the_first_lowest(bits: int) -> None:
    values = np.zeros((64, 128), np.int8)
    values[3, 16 * 2 + 5] = 3
    words = pack(values, np.ones((64, 1), np.float16), bits).words.view(np.uint32)
    assert (words[3, 5] >> (2 * bits)) & (2**bits - 1) == 2 ** (bits - 1) + 3


@pytest.mark.parametrize(('bits', 'block'), ((4, 128), (8, 0)))
def test_matrices_of_a_weight_file_keep_their_numbers(bits: int, block: int) -> None:
    wanted = some_matrix(np.random.default_rng(1), (64, 256), bits)
    if not block:
        wanted.scales[:] = wanted.scales[:, :1]
    integers = unpack(wanted)
    stored = packed(integers) if bits == 4 else integers.T
    scales = wanted.scales.T if block else wanted.scales[:, 0]
    found = from_bundle(np.ascontiguousarray(stored), scales, bits, block)
    np.testing.assert_array_equal(weights_of(found), weights_of(wanted))


def test_other_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match='blocks of 64'):
        from_bundle(np.zeros((128, 32), np.uint8), np.ones((2, 64), np.float16), 4, 64)
