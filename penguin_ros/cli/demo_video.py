# SPDX-License-Identifier: Apache-2.0
"""Draws a short video for a demo without a camera: a red ball that rolls right, a blue box that stands. Knows nothing else."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from penguin_ros.recording.video import RecordingError

WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 10, 8


def draw_video(path: Path) -> Path:
    """Writes `path` (.mp4); RecordingError when this OpenCV has no encoder."""
    import cv2
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise RecordingError('cannot draw a video', 'this OpenCV has no mp4v encoder', 'Give one with --video FILE')
    for index in range(FPS * SECONDS):
        picture = np.full((HEIGHT, WIDTH, 3), (170, 190, 200), np.uint8)
        picture[HEIGHT * 2 // 3:] = (70, 110, 90)
        cv2.rectangle(picture, (200, 110), (260, 170), (200, 60, 30), -1)
        cv2.circle(picture, (30 + index * 260 // (FPS * SECONDS), 180), 22, (40, 40, 220), -1, cv2.LINE_AA)
        writer.write(picture)
    writer.release()
    return path
