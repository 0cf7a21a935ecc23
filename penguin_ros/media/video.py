# SPDX-License-Identifier: Apache-2.0
"""Reads video files: `VideoReader` frame by frame, `VideoRecording` as a whole with media times."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.frame_sampling import RecordingSampler

BgrImage = NDArray[np.uint8]
"""(height, width, 3) uint8 in OpenCV's order, blue first."""

DEFAULT_FPS = 25.0
MAX_FPS = 1000.0


class MediaError(PenguinError):
    """A recording, a folder of images or a capture device cannot be read."""


class VideoReader:
    """An open video file, read from its first frame on; used by one thread.

    `fps` is the rate that the file declares, `frame_count` an estimate. MediaError when OpenCV
    cannot open the file.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        self.path = path
        self._capture = self._open()
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= MAX_FPS else DEFAULT_FPS
        self.frame_count: float = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._grabbed = 0

    def grab(self) -> bool:
        """Makes the next frame the current one without decoding it; False at the end."""
        has_frame = bool(self._capture.grab())
        self._grabbed += has_frame
        return has_frame

    def media_time_ns(self) -> int:
        """Returns the current frame's own time, or index over rate where the container has none."""
        import cv2

        milliseconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if milliseconds > 0:
            return round(milliseconds * 1e6)
        return round((self._grabbed - 1) / self.fps * NANOSECONDS)

    def image(self) -> BgrImage | None:
        """Decodes the current frame; None when it is damaged."""
        is_read, image = self._capture.retrieve()
        return np.asarray(image, dtype=np.uint8) if is_read else None

    def rewind(self) -> None:
        """Starts again before the first frame."""
        self.close()
        self._capture = self._open()
        self._grabbed = 0

    def close(self) -> None:
        """Frees the decoder."""
        self._capture.release()

    def _open(self) -> Any:
        import cv2

        if not is_utf8(self.path):
            raise MediaError(
                f'cannot read {self.path}',
                'OpenCV takes names in UTF-8, and this one is not, or the files of this system are '
                f'named in {sys.getfilesystemencoding()}',
                'Rename it, for example: mv FILE video.mp4; or type: export LC_ALL=C.UTF-8',
            )
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise unreadable(self.path, 'it is not a video that this OpenCV decodes')
        return capture


class VideoRecording:
    """A video file as a recording; each call of `frames` decodes it from the start.

    MediaError when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        reader = VideoReader(path)
        self.fps = reader.fps
        self.duration_ns = int(reader.frame_count / reader.fps * NANOSECONDS)
        reader.close()

    def frames(self, sample_fps: float = 0.0) -> Iterator[tuple[int, Image]]:
        """Yields (media time in ns, (height, width, 3) uint8 RGB) with strictly increasing times.

        `sample_fps` above 0 bounds the rate. Frames that do not decode are left out.
        """
        import cv2

        reader = VideoReader(self.path)
        sampler = RecordingSampler(sample_fps)
        try:
            while reader.grab():
                time_ns = reader.media_time_ns()
                image = reader.image() if sampler.take(time_ns) else None
                if image is not None:
                    yield time_ns, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            reader.close()


def is_utf8(path: Path) -> bool:
    """Returns whether a path means the same file when it is written in UTF-8. OpenCV ends the
    process over one that cannot be written so.
    """
    return str(path).encode('utf-8', 'replace') == os.fsencode(path)


def unreadable(path: Path, why: str) -> MediaError:
    """Returns the error for a video that cannot be used, with the command that converts it."""
    return MediaError(
        f'cannot read {path}',
        why,
        'Convert it, for example: ffmpeg -i FILE -c:v libx264 video.mp4',
    )
