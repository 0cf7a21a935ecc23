# SPDX-License-Identifier: Apache-2.0
"""Reads frames and their media time from a video file. Knows neither ROS nor clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.frame_sampling import RecordingSampler


class RecordingError(PenguinError):
    """A recording cannot be read."""


class VideoRecording:
    """A video file; iterating `frames` decodes it from the start. RecordingError when it cannot be
    opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        capture = self._capture()
        import cv2

        self.fps: float = capture.get(cv2.CAP_PROP_FPS) or 25.0
        self.duration_ns: int = int(capture.get(cv2.CAP_PROP_FRAME_COUNT) / self.fps * NANOSECONDS)
        capture.release()

    def frames(self, sample_fps: float = 0.0) -> Iterator[tuple[int, Image]]:
        """(media time in ns, (height, width, 3) uint8 RGB), strictly increasing times; at most
        `sample_fps` when above 0.
        """
        capture = self._capture()
        try:
            sampler = RecordingSampler(sample_fps)
            index = 0
            while capture.grab():
                time_ns = self._media_time_ns(capture, index)
                index += 1
                if sampler.take(time_ns):
                    image = self._retrieve(capture)
                    if image is not None:
                        yield time_ns, image
        finally:
            capture.release()

    def _media_time_ns(self, capture: Any, index: int) -> int:
        """Time of the grabbed frame: its own time stamp, or index over rate where the container
        gives none.
        """
        import cv2

        milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
        return (
            round(milliseconds * 1e6) if milliseconds > 0 else round(index / self.fps * NANOSECONDS)
        )

    @staticmethod
    def _retrieve(capture: Any) -> Image | None:
        import cv2

        is_read, picture = capture.retrieve()
        return (
            np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            if is_read
            else None
        )

    def _capture(self) -> Any:
        import cv2

        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise RecordingError(
                f'cannot read {self.path}',
                'it is not a video that this OpenCV decodes',
                'Convert it, for example: ffmpeg -i FILE -c:v libx264 video.mp4',
            )
        return capture
