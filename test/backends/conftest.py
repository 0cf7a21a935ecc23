# SPDX-License-Identifier: Apache-2.0
"""Each backend in turn: `kind`, and `backend`, opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.backend_kinds import CONFIG, KINDS, Kind, interpreted_kind
from support.kernel_runs import needs_triton

from penguin_ros.backends.base.backend import Backend

# Kernels beside engines have a fast test of their own, tensorrt/test_kernel_steps.py; own
# kernels alone have the golden values, faults and exactness in cuda/.
SLOW = ('tensorrt and kernels', 'tensorrt two-part and kernels', 'cuda', 'cuda, float16')


INTERPRETED = 'cuda by the interpreter'
BY_THE_INTERPRETER = {
    'test_features_of_a_frame_are_the_same_bits_in_any_company',
    'test_encodes_and_chunks_may_alternate',
    'test_decoding_one_by_one_equals_verifying_all_at_once',
    'test_a_run_of_the_best_tokens_is_what_they_are_one_by_one',
    'test_every_position_counts',
    'test_slots_do_not_see_each_other',
    'test_more_branches_than_a_slot_has_room_for_at_once_are_read_in_several_passes',
    'test_a_branch_may_fill_the_slot_to_its_last_position_and_no_further',
    'test_an_overflow_writes_nothing',
}
"""The promises of the contract that Triton's interpreter is asked to keep: those that need many
passes take it hours.
"""

BY_IT = (pytest.mark.slow, needs_triton, pytest.mark.timeout(1800))


@pytest.fixture(
    scope='session',
    params=[
        *(pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in KINDS),
        pytest.param(INTERPRETED, marks=BY_IT),
    ],
)
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    """How a backend is made, and how exact it is."""
    folder = tmp_path_factory.mktemp(request.param) / 'checkpoint'
    if request.param != INTERPRETED:
        yield KINDS[request.param](folder)
        return
    with ExitStack() as stack:
        yield interpreted_kind(folder, stack)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what the interpreter is not asked to do."""
    items[:] = [
        item
        for item in items
        if f'[{INTERPRETED}' not in item.name
        or getattr(item, 'originalname', '') in BY_THE_INTERPRETER
    ]


@pytest.fixture
def backend(kind: Kind) -> Iterator[Backend]:
    """An open backend with three slots of 64 positions."""
    opened = kind.make(CONFIG)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def no_fake_libraries() -> Iterator[None]:
    """Removes what a test's fake GPU left behind."""
    yield
    if 'support.fake_gpu.installed' in sys.modules:
        sys.modules['support.fake_gpu.installed'].remove()
