# SPDX-License-Identifier: Apache-2.0
"""An open scripted backend that counts what it computes, and caches that keep its results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.reuse_runs import CountingBackend

from penguin_ros.generation.caches import Caches


@pytest.fixture
def backend() -> Iterator[CountingBackend]:
    opened = CountingBackend()
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def caches(backend: CountingBackend) -> Caches:
    return Caches(backend, 1 << 20, True)
