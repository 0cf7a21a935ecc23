# SPDX-License-Identifier: Apache-2.0
"""Where a camera node's pictures come from: a video file, a folder of pictures, a V4L2 device.
Knows no ROS.

Pictures are (height, width, 3) uint8 in OpenCV's order, BGR. One thread uses a source.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS

BgrImage = NDArray[np.uint8]

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp')
FOLDER_HZ = 1.0
DEVICE_HZ = 30.0
_DEVICE = re.compile(r'/dev/video(\d+)')


class SourceError(PenguinError):
    """The source of a camera node cannot be used, or stopped giving pictures."""


class CameraSource(Protocol):
    """Pictures along a media time that begins at 0."""

    native_hz: float
    is_live: bool
    """A live source paces itself: `advance` returns when that time has come."""

    def advance(self, media_ns: int) -> bool:
        """Makes the newest picture at this time the current one, without decoding it; False when
        the source has ended.
        """

    def image(self) -> BgrImage:
        """The current picture; SourceError when it cannot be decoded."""

    def close(self) -> None:
        """Frees the source."""


def open_source(
    source: str, *, is_looping: bool = True, hz: float = 0.0, width: int = 0, height: int = 0
) -> CameraSource:
    """The source of that name; `hz` paces a folder and, with the size, is asked of a device.
    SourceError says what is wrong.
    """
    if not source:
        raise SourceError(
            'no source given',
            'a camera node publishes a video file, a folder of pictures or a V4L2 device',
            'Start it with --ros-args -p source:=video.mp4 (or a folder, or /dev/video0)',
        )
    path = Path(source).expanduser()
    device = _DEVICE.fullmatch(str(path.resolve()))  # /dev/v4l/by-id holds links
    if device:
        return LiveDevice(_open_device(source, int(device[1]), (hz, width, height)), source)
    if not path.exists():
        raise SourceError(f'no such file or folder: {source}', '', 'Check the path of the source')
    return (
        ImageFolder(path, is_looping, hz or FOLDER_HZ)
        if path.is_dir()
        else VideoFile(path, is_looping)
    )


class VideoFile:
    """A video file; looping goes on with the first frame, one frame's time after the last."""

    is_live = False

    def __init__(self, path: Path, is_looping: bool) -> None:
        self._path, self._is_looping = path, is_looping
        self._capture = self._open()
        hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.native_hz = hz if 0 < hz <= 1000 else 25.0
        self._period_ns = NANOSECONDS / self.native_hz
        self._image: BgrImage | None = None
        self._lap_ns = 0.0  # media time of the first frame of this lap
        self._next = 0  # index, in this lap, of the frame to be grabbed next
        if not self._capture.grab():
            raise self._unreadable('it holds no frame')
        self._capture.release()
        self._capture = self._open()

    def advance(self, media_ns: int) -> bool:
        """As in CameraSource."""
        # Times of ticks and frames are rounded differently.
        while self._lap_ns + self._next * self._period_ns <= media_ns + self._period_ns / 100:
            if self._capture.grab():
                self._next += 1
                self._image = None
            elif not self._is_looping or self._next == 0:
                return False
            else:
                self._lap_ns += self._next * self._period_ns
                self._next = 0
                self._capture.release()
                self._capture = self._open()
        return True

    def image(self) -> BgrImage:
        """As in CameraSource."""
        if self._image is None:
            is_read, self._image = self._capture.retrieve()
            if not is_read or self._image is None:
                raise self._unreadable('a frame of it does not decode')
        return self._image

    def close(self) -> None:
        """As in CameraSource."""
        self._capture.release()

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise self._unreadable('it is not a video that this OpenCV decodes')
        return capture

    def _unreadable(self, why: str) -> SourceError:
        return SourceError(
            f'cannot read {self._path}', why, 'Convert it: ffmpeg -i FILE -c:v libx264 video.mp4'
        )


class ImageFolder:
    """The pictures of a folder in the order of their names, numbers counted as such. Those that do
    not decode are left out.
    """

    is_live = False

    def __init__(self, path: Path, is_looping: bool, hz: float) -> None:
        self.native_hz, self._is_looping = hz, is_looping
        self._paths = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=_natural_order,
        )
        self._path, self._index, self._shown = path, 0, -1
        self._image: BgrImage | None = None
        if not any(self._read(file) is not None for file in self._paths):
            raise SourceError(
                f'no picture in the folder {path}',
                f'it holds {len(self._paths)} files named as pictures, none of which decodes',
                f'Picture files end in {" ".join(IMAGE_SUFFIXES)}',
            )

    def advance(self, media_ns: int) -> bool:
        """As in CameraSource."""
        index = int(media_ns * self.native_hz / NANOSECONDS + 0.01)
        if index >= len(self._paths) and not self._is_looping:
            return False
        self._index = index % len(self._paths)
        return True

    def image(self) -> BgrImage:
        """As in CameraSource."""
        while self._image is None or self._shown != self._index:
            image = self._read(self._paths[self._index])
            if image is not None:
                self._image, self._shown = image, self._index
            else:
                self._forget(self._paths[self._index])
        return self._image

    def close(self) -> None:
        """As in CameraSource."""

    def _forget(self, file: Path) -> None:
        self._paths.remove(file)
        if not self._paths:
            raise SourceError(
                f'no picture left in the folder {self._path}', f'{file.name} does not decode either'
            )
        self._index %= len(self._paths)

    @staticmethod
    def _read(file: Path) -> BgrImage | None:
        image: BgrImage | None = cv2.imread(str(file), cv2.IMREAD_COLOR)
        return image


class LiveDevice:
    """A capture device; pictures that come before their time are thrown away, so that none waits
    and grows old.
    """

    is_live = True

    def __init__(self, capture: Any, name: str) -> None:
        self._capture, self._name = capture, name
        hz = float(capture.get(cv2.CAP_PROP_FPS))
        self.native_hz = hz if 0 < hz <= 1000 else DEVICE_HZ
        self._start_ns: int | None = None

    def advance(self, media_ns: int) -> bool:
        """As in CameraSource; SourceError when the device gives nothing more."""
        while True:
            if not self._capture.grab():
                raise SourceError(
                    f'{self._name} stopped giving pictures',
                    'it was unplugged, or another program took it',
                )
            now_ns = time.monotonic_ns()
            self._start_ns = now_ns if self._start_ns is None else self._start_ns
            # Half a picture early is nearer than half a picture late.
            if now_ns - self._start_ns >= media_ns - NANOSECONDS / self.native_hz / 2:
                return True

    def image(self) -> BgrImage:
        """As in CameraSource."""
        is_read, image = self._capture.retrieve()
        if not is_read:
            raise SourceError(f'a picture of {self._name} does not decode')
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """As in CameraSource."""
        self._capture.release()


def _open_device(name: str, index: int, wishes: tuple[float, int, int]) -> Any:
    """`wishes`: rate, width and height to ask for, where not 0."""
    capture = cv2.VideoCapture(index, cv2.CAP_V4L2) if Path(name).exists() else None
    if capture is None or not capture.isOpened():
        why = (
            'no such device'
            if capture is None
            else 'it is no capture device, in use, or not permitted to this user'
        )
        raise SourceError(
            f'cannot open the camera {name}',
            why,
            'See what there is: ls /dev/video*; v4l2-ctl --list-devices',
        )
    for key, value in zip(
        (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), wishes, strict=True
    ):
        if value:
            capture.set(key, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _natural_order(file: Path) -> list[tuple[int, str]]:
    """frame2 before frame10."""
    return [
        (int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', file.name)
    ]
