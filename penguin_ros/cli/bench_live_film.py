# SPDX-License-Identifier: Apache-2.0
"""Writes pictures as a video file, for a camera that shows them. Knows nothing else."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penguin_ros.frame import Image
from penguin_ros.recording.video import RecordingError


def write_video(path: Path, pictures: Sequence[Image], fps: float) -> Path:
    """Writes pictures of one size, at least one, as `path` (.mp4); RecordingError when this OpenCV has no encoder."""
    import cv2
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise RecordingError('cannot write a video', 'this OpenCV has no mp4v encoder', 'Give one with --video FILE')
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path
