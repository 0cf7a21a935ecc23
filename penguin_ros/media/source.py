# SPDX-License-Identifier: Apache-2.0
"""Sources of a camera node's images: a video file, a folder of images, a V4L2 device.

Images are (height, width, 3) uint8 in OpenCV's order, BGR. One thread uses a source.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from penguin_ros.frame import NANOSECONDS
from penguin_ros.frame_sampling import ROUNDING_NS
from penguin_ros.media.video import (
    MAX_FPS,
    BgrImage,
    MediaError,
    VideoReader,
    require_images,
    unreadable,
)

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp')
FOLDER_HZ = 1.0
VARIABLE = 1.5
"""How many times the average the rate between two frames is where it is called variable."""

MOST_HZ = 60.0
"""The most that a variable rate is followed to."""
DEVICE_HZ = 30.0
_DEVICE = re.compile(r'/dev/video(\d+)')


class CameraSource(Protocol):
    """Images along a media time that begins at 0."""

    native_hz: float
    is_live: bool
    """A live source paces itself: `advance` returns when that time has come."""

    def advance(self, media_ns: int) -> bool:
        """Makes the newest image at this time the current one, without decoding it.

        Returns False when the source has ended.
        """

    @property
    def has_image(self) -> bool:
        """Whether there is a current image: a video may begin with sound alone."""

    def image(self) -> BgrImage:
        """Returns the current image; MediaError when it cannot be decoded."""

    def close(self) -> None:
        """Frees the source."""


def open_source(
    source: str, *, is_looping: bool = True, hz: float = 0.0, width: int = 0, height: int = 0
) -> CameraSource:
    """Opens the source of that name; MediaError says what is wrong with it.

    `hz` paces a folder; a device is asked for `hz`, `width` and `height` where they are not 0.
    """
    if not source:
        raise MediaError(
            'no source given',
            'a camera node publishes a video file, a folder of images or a V4L2 device',
            'Start it with --ros-args -p source:=video.mp4 (or a folder, or /dev/video0)',
        )
    path = Path(source).expanduser()
    device = _DEVICE.fullmatch(str(path.resolve()))  # /dev/v4l/by-id holds links
    if device:
        return LiveDevice(_open_device(source, int(device[1]), (hz, width, height)), source)
    if not path.exists():
        raise MediaError(f'no such file or folder: {source}', '', 'Check the path of the source')
    if path.is_dir():
        return ImageFolder(path, is_looping, hz or FOLDER_HZ)
    return VideoFile(path, is_looping)


class VideoFile:
    """A video file. Each frame is shown from its own time to that of the next; looping goes on with
    the file's zero, when the last frame was shown for as long as the one before it.
    """

    is_live = False

    def __init__(self, path: Path, is_looping: bool) -> None:
        self._reader = VideoReader(path)
        self._is_looping = is_looping
        self.native_hz = _rate(self._reader)
        self._period_ns = round(NANOSECONDS / self.native_hz)
        self._image: BgrImage | None = None
        self._lap_ns = 0  # media time of the file's zero in this lap
        self._next_ns: int | None = None  # time, in this lap, of the frame that was grabbed
        require_images(self._reader)
        self._reader.rewind()
        self._start_lap()

    @property
    def has_image(self) -> bool:
        """Implements CameraSource."""
        return self._image is not None

    def advance(self, media_ns: int) -> bool:
        """Implements CameraSource."""
        now_ns = media_ns + ROUNDING_NS
        while True:
            if self._next_ns is not None:
                if self._lap_ns + self._next_ns > now_ns:
                    return True
                self._show_next()
            elif self._lap_ns + self._end_ns > now_ns:
                return True
            elif not self._is_looping:
                return False
            else:
                self._lap_ns += self._end_ns
                self._reader.rewind()
                self._start_lap()

    def image(self) -> BgrImage:
        """Implements CameraSource."""
        if self._image is None:
            raise unreadable(self._reader.path, 'none of its frames was shown yet')
        return self._image

    def close(self) -> None:
        """Implements CameraSource."""
        self._reader.close()

    def _start_lap(self) -> None:
        self._end_ns = self._period_ns
        self._next_ns = self._reader.media_time_ns() if self._reader.grab() else None

    def _show_next(self) -> None:
        """Shows the frame that was grabbed, and grabs the one after it, which overwrites it.

        One that does not decode leaves the one before it in sight.
        """
        shown_ns = self._next_ns or 0
        image = self._reader.image()
        self._image = self._image if image is None else image
        self._next_ns = None
        while self._next_ns is None and self._reader.grab():
            time_ns = self._reader.media_time_ns()
            self._next_ns = time_ns if time_ns > shown_ns else None
        if self._next_ns is None:
            self._end_ns = shown_ns + self._period_ns
        else:
            self._period_ns = self._next_ns - shown_ns


def _rate(reader: VideoReader) -> float:
    """The rate at which no frame is missed: at a variable rate it is higher than the average, which
    the file declares.
    """
    gap_ns = reader.shortest_gap_ns()
    if not gap_ns or NANOSECONDS / gap_ns < VARIABLE * reader.fps:
        return reader.fps
    return min(NANOSECONDS / gap_ns, max(reader.fps, MOST_HZ))


class ImageFolder:
    """The images of a folder in the order of their names, with numbers in them counted as numbers.

    Files that do not decode are left out. MediaError when none does.
    """

    is_live = False
    has_image = True

    def __init__(self, path: Path, is_looping: bool, hz: float) -> None:
        self.native_hz = hz
        self._is_looping = is_looping
        self._path = path
        self._files = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=_natural_order,
        )
        self._index = 0
        self._image: BgrImage | None = None
        self._image_index = -1
        if not any(self._read(file) is not None for file in self._files):
            raise MediaError(
                f'no image in the folder {path}',
                f'it holds {len(self._files)} files named as images, none of which decodes',
                f'Image files end in {" ".join(IMAGE_SUFFIXES)}',
            )

    def advance(self, media_ns: int) -> bool:
        """Implements CameraSource."""
        index = int(media_ns * self.native_hz / NANOSECONDS + 0.01)
        if index >= len(self._files) and not self._is_looping:
            return False
        self._index = index % len(self._files)
        return True

    def image(self) -> BgrImage:
        """Implements CameraSource."""
        while self._image is None or self._image_index != self._index:
            image = self._read(self._files[self._index])
            if image is not None:
                self._image = image
                self._image_index = self._index
            else:
                self._forget(self._files[self._index])
        return self._image

    def close(self) -> None:
        """Implements CameraSource."""

    def _forget(self, file: Path) -> None:
        self._files.remove(file)
        if not self._files:
            raise MediaError(
                f'no image left in the folder {self._path}', f'{file.name} does not decode either'
            )
        self._index %= len(self._files)

    @staticmethod
    def _read(file: Path) -> BgrImage | None:
        # Read here: OpenCV ends the process over a name that is not UTF-8.
        try:
            content = np.frombuffer(file.read_bytes(), np.uint8)
        except OSError:
            return None
        image: BgrImage | None = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        return image


class LiveDevice:
    """A capture device; images that come before their time are thrown away, so that none waits and
    grows old.
    """

    is_live = True
    has_image = True

    def __init__(self, capture: Any, name: str) -> None:
        self._capture = capture
        self._name = name
        hz = float(capture.get(cv2.CAP_PROP_FPS))
        self.native_hz = hz if 0 < hz <= MAX_FPS else DEVICE_HZ
        self._start_ns: int | None = None

    def advance(self, media_ns: int) -> bool:
        """Implements CameraSource; MediaError when the device gives nothing more."""
        while True:
            if not self._capture.grab():
                raise MediaError(
                    f'{self._name} stopped giving images',
                    'it was unplugged, or another program took it',
                )
            now_ns = time.monotonic_ns()
            self._start_ns = now_ns if self._start_ns is None else self._start_ns
            # Half an image's time early is nearer than half of it late.
            if now_ns - self._start_ns >= media_ns - NANOSECONDS / self.native_hz / 2:
                return True

    def image(self) -> BgrImage:
        """Implements CameraSource."""
        is_read, image = self._capture.retrieve()
        if not is_read:
            raise MediaError(f'an image of {self._name} does not decode')
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Implements CameraSource."""
        self._capture.release()


def _open_device(name: str, index: int, wishes: tuple[float, int, int]) -> Any:
    """Opens a capture device; `wishes` are the rate, width and height to ask for, where not 0."""
    capture = cv2.VideoCapture(index, cv2.CAP_V4L2) if Path(name).exists() else None
    if capture is None or not capture.isOpened():
        why = (
            'no such device'
            if capture is None
            else 'it is no capture device, in use, or not permitted to this user'
        )
        raise MediaError(
            f'cannot open the camera {name}',
            why,
            'See what there is: ls /dev/video*; v4l2-ctl --list-devices',
        )
    properties = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    for key, value in zip(properties, wishes, strict=True):
        if value:
            capture.set(key, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _natural_order(file: Path) -> list[tuple[int, str]]:
    """Returns a sort key that puts frame2 before frame10."""
    return [
        (int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', file.name)
    ]
