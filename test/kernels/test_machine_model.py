# SPDX-License-Identifier: Apache-2.0
"""What the model of the machine predicts follows from bytes and from nothing hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penguin_ros.checkpoint.published_shapes import PUBLISHED
from penguin_ros.kernels.machine_model import (
    BANDWIDTH_SHARE,
    BOARDS,
    decode_costs,
    limit_seconds,
    predicted_seconds,
)
from penguin_ros.kernels.network import Formats, network_of
from penguin_ros.kernels.passes import one_row_pass

NETWORK = network_of(PUBLISHED['2b'], Formats())


def test_a_step_reads_every_weight_once() -> None:
    weights = 28 * (4096 + 2048 + 3 * 6144) * 2048 + 151936 * 2048
    read = sum(cost.bytes for cost in decode_costs(NETWORK, 0))
    assert read == pytest.approx(weights * (0.5 + 2 / 128), rel=0.02)


def test_each_position_adds_its_keys_and_values() -> None:
    near, far = (sum(cost.bytes for cost in decode_costs(NETWORK, at)) for at in (100, 1100))
    assert far - near == 1000 * NETWORK.llm.position_numbers * 2


def test_launches_are_those_of_a_pass() -> None:
    launches = sum(cost.launches for cost in decode_costs(NETWORK, 0))
    assert launches == len(one_row_pass(NETWORK))


def test_nothing_is_predicted_to_be_faster_than_memory() -> None:
    costs = decode_costs(NETWORK, 1000)
    for board in BOARDS:
        assert predicted_seconds(board, costs) > limit_seconds(board, costs) / BANDWIDTH_SHARE
        slow = replace(board, launch_us=10 * board.launch_us)
        assert predicted_seconds(slow, costs) > predicted_seconds(board, costs)
