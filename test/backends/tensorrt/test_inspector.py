# SPDX-License-Identifier: Apache-2.0
"""What is read from the layers of an engine, in the form of TensorRT's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.fake_gpu.installed import Machine

LAYERS = [
    {
        'Name': '__myl_Fc',
        'LayerType': 'gemm',
        'TacticName': 'sm80_xmma_gemm_f16f16',
        'Outputs': [{'Dimensions': [1, 1, 12288], 'Format/Datatype': 'Row major linear FP16'}],
    },
    {
        'Name': '_gemm_mha_v2_myl3_1',
        'LayerType': 'kgen',
        'TacticName': '_gemm_mha_v2_0xabc',
        'Outputs': [{'Dimensions': [1, 16, 1, 128], 'Format/Datatype': 'Half'}],
    },
    {
        'Name': '__myl_Cast',
        'Outputs': [{'Dimensions': [1, 2048, 12288], 'Format/Datatype': 'Half'}],
    },
    {'Name': 'packed', 'Outputs': [{'Dimensions': [2048, 12288], 'Format/Datatype': 'Int4'}]},
    {'Name': 'older', 'Outputs': ['a name only']},
]


@pytest.fixture(autouse=True)
def installed() -> Iterator[Machine]:
    """A TensorRT, which the file that is tested imports."""
    from support.fake_gpu.installed import Machine, remove, use

    made = Machine()
    use(made)
    yield made
    remove()


def test_fused_attention_and_whole_weights_are_seen() -> None:
    from penguin_ros.backends.tensorrt.inspector import layer_counts

    found = layer_counts(LAYERS, {(2048, 12288)})
    assert (found.layer_count, found.unpacked) == (5, 1)
    assert '_gemm_mha_v2_0xabc' in found.attention


def test_a_library_that_tells_nothing_gives_nothing() -> None:
    from penguin_ros.backends.tensorrt.inspector import layer_counts

    found = layer_counts([], {(2048, 12288)})
    assert (found.layer_count, found.attention, found.unpacked) == (0, (), 0)
