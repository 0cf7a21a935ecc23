# SPDX-License-Identifier: Apache-2.0
"""Where tests find golden values and the video: `shared/` beside the repository, never copied into
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / 'shared'


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f'{path} is absent')
    return path


@pytest.fixture(scope='session')
def golden_dir() -> Path:
    """The reference's checkpoint and cases."""
    return _present(SHARED / 'golden')


@pytest.fixture(scope='session')
def video_path() -> Path:
    """A real video, 608 x 342, 25 fps, 29 s."""
    return _present(SHARED / 'media' / 'polar_bear.mp4')


@pytest.fixture(scope='session')
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with random weights."""
    from penguin_ros.testing.random_checkpoint import write_random_checkpoint

    return write_random_checkpoint(tmp_path_factory.mktemp('checkpoint') / 'tiny')


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS_DOMAIN_ID that no other test holds, in this process' environment too; nothing leaves
    this machine.
    """
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from support.graph import Domain

    domain = Domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain.number))
    # A transport profile holds beside it: tried with Fast DDS 2.14.
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    yield domain.number
    domain.close()
