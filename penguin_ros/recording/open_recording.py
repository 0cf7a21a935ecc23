# SPDX-License-Identifier: Apache-2.0
"""Tells a bag from a video and opens it. Knows no other source."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from penguin_ros.frame import Image
from penguin_ros.recording.bag import BagRecording
from penguin_ros.recording.video import RecordingError, VideoRecording


class Recording(Protocol):
    """Pictures with times; `duration_ns` is an estimate for progress."""

    duration_ns: int

    def frames(self, sample_fps: float = 0.0) -> Iterator[tuple[int, Image]]:
        """(time in ns, RGB), strictly increasing times."""


def open_recording(path: Path, to_rgb: Callable[[Any], Image], topic: str = '') -> Recording:
    """A video file, a rosbag2 folder, or an .mcap/.db3 file of one; RecordingError otherwise."""
    if not path.exists():
        raise RecordingError(f'no such file or folder: {path}', '', 'Check the path')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        raise RecordingError(f'{path} is a folder without metadata.yaml', 'a rosbag2 folder has one',
                             'Give the folder of a bag, or a video file')
    if path.is_dir() or path.suffix in ('.mcap', '.db3'):
        return BagRecording(path.parent if path.suffix == '.db3' else path, to_rgb, topic)
    return VideoRecording(path)
