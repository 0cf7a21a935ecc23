# SPDX-License-Identifier: Apache-2.0
"""Needs against memory: the table, the verdict, and the sizes that would fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penguin_ros.board_memory.memory_plan import (
    LEAST_SLOTS,
    Room,
    build_plan,
    changes,
    fitting_sizes,
    run_plan,
)
from penguin_ros.board_memory.needs import ModelSizes, RunSizes
from penguin_ros.checkpoint.published_shapes import PUBLISHED

MODEL = ModelSizes(PUBLISHED['2b'], 950_000_000, 895_000_000)
RUN = RunSizes(4, 4096, 512, 4096)
LARGE = Room(16 * 10**9, 15 * 10**9, True)


def test_the_table_adds_up_and_names_what_is_left() -> None:
    plan = run_plan('running it', MODEL, RUN, LARGE)
    assert plan.fits and plan.spare == 15 * 10**9 - sum(item.byte_count for item in plan.items)
    lines = plan.lines()
    assert lines[0] == 'running it' and all('GB' in line for line in lines[1:])
    found = {line.split('  ')[1].strip(): line for line in lines[1:]}
    assert '4 of 4096 positions' in found['KV slots'] and '1.88 GB' in found['KV slots']
    assert 'not fused' in found['scratch'] and 'of 16.00 GB' in found['available']
    assert f'{plan.spare / 1e9:.2f} GB' in found['to spare']


def test_what_is_lacking_is_told_and_so_are_sizes_that_fit() -> None:
    small = Room(8 * 10**9, 6 * 10**9, True)
    plan = run_plan('running it', MODEL, RUN, small)
    assert not plan.fits and plan.lines()[-1].strip().startswith('lacking')
    fitting = fitting_sizes(MODEL, RUN, small)
    assert fitting is not None and run_plan('', MODEL, fitting, small).fits
    assert changes(RUN, fitting).startswith('--max-patches') and fitting != RUN
    assert changes(RUN, RUN) == ''


def test_engines_that_are_built_keep_their_patches_and_rows_when_sizes_are_looked_for() -> None:
    run = replace(RUN, scratch_bytes=10**8)
    available = run_plan('', MODEL, replace(run, slots=LEAST_SLOTS), LARGE).needed
    fitting = fitting_sizes(MODEL, run, Room(8 * 10**9, available, True))
    assert fitting == replace(run, slots=LEAST_SLOTS)


def test_nothing_is_named_where_nothing_fits() -> None:
    assert fitting_sizes(MODEL, RUN, Room(4 * 10**9, 3 * 10**9, True)) is None


def test_a_gpu_with_memory_of_its_own_holds_neither_python_nor_ros_for_others() -> None:
    own = run_plan('', MODEL, RUN, replace(LARGE, is_shared=False))
    names = {item.name for item in own.items}
    assert not names & {'ROS 2, one camera', 'kept free'} and 'KV slots' in names


@pytest.mark.parametrize(('part', 'copies'), [('decoder', 950_000_000), ('vision', 895_000_000)])
def test_building_a_part_counts_its_own_weights_and_activations(part: str, copies: int) -> None:
    plan = build_plan('building', part, MODEL, RUN, LARGE)
    sizes = {item.name: item.byte_count for item in plan.items}
    assert sizes['weights'] == 3 * copies and sizes['builder'] == 1_600_000_000
    lean = build_plan('building', part, MODEL, RUN, LARGE, is_lean=True)
    assert plan.needed - lean.needed == copies
