# SPDX-License-Identifier: Apache-2.0
"""Each backend in turn: `kind`, and `backend`, opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support.backend_kinds import CONFIG, KINDS, Kind

from penguin_ros.backends.base.backend import Backend

# Kernels beside engines have a fast test of their own, tensorrt/test_kernel_steps.py; own
# kernels alone have the golden values, faults and exactness in cuda/.
SLOW = ('tensorrt and kernels', 'tensorrt two-part and kernels', 'cuda', 'cuda, float16')


@pytest.fixture(
    scope='session',
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in KINDS],
)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """How a backend is made, and how exact it is."""
    return KINDS[request.param](tmp_path_factory.mktemp(request.param) / 'checkpoint')


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
