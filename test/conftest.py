# SPDX-License-Identifier: Apache-2.0
"""Where tests find golden values and the video: `shared/` beside the repository, never copied into it."""
from __future__ import annotations

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
