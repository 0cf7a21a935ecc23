# SPDX-License-Identifier: Apache-2.0
"""A world to draw in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penguin_ros.simulation.world import World


@pytest.fixture(scope='session')
def world() -> Iterator[World]:
    """A world that draws images of 168 x 112 pixels."""
    pytest.importorskip('mujoco', reason='no MuJoCo here')
    with World(168, 112) as opened:
        yield opened
