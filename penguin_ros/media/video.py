# SPDX-License-Identifier: Apache-2.0
"""Reads video files: `VideoReader` frame by frame, `VideoRecording` as a whole with media times."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import PenguinError, system_reason
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.frame_sampling import RecordingSampler
from penguin_ros.libraries import prepare
from penguin_ros.media.container import ContainerFacts, container_facts
from penguin_ros.media.interlaced import conversion_fault
from penguin_ros.media.recording import Account

BgrImage = NDArray[np.uint8]
"""(height, width, 3) uint8 in OpenCV's order, blue first."""

DEFAULT_FPS = 25.0
MAX_FPS = 1000.0
PATIENCE = 16
"""Failed grabs in a row after which a file is at its end, where it does not promise more."""

MOST_TRIES = 100_000
FIRST_FRAMES = 100
SUSPICIONS = 3
"""How often two equal images in a row are looked into."""

CAUSE = 'decoding'
WITH_HIDDEN_FRAMES = ('vp80',)
"""Codecs some of whose packets are never shown."""


CODECS = {
    'av01': 'av1',
    'avc1': 'h264',
    'fmp4': 'mpeg4',
    'hev1': 'hevc',
    'hvc1': 'hevc',
    'mp4v': 'mpeg4',
    'vp80': 'vp8',
    'vp90': 'vp9',
    'vp09': 'vp9',
    'vvc1': 'vvc',
}
"""What ffmpeg calls codecs whose four characters are others."""


class MediaError(PenguinError):
    """A recording, a folder of images or a capture device cannot be read."""


class VideoReader:
    """An open video file, read from its first frame on; used by one thread.

    `fps` is the rate that the file declares, `frame_count` an estimate, `failures` the grabs that
    gave nothing although something followed, `gap_ns` the times before and after the first of them.
    MediaError when OpenCV cannot open the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        require_readable(path)
        self.facts: ContainerFacts = container_facts(path)
        self._capture = self._open()
        import cv2

        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= MAX_FPS else DEFAULT_FPS
        self.frame_count: float = max(0.0, self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.failures = 0
        self.gap_ns: tuple[int, int] | None = None
        self._grabbed = 0
        self._last_image: BgrImage | None = None
        self._suspicions = 0

    @property
    def codec(self) -> str:
        """The four characters by which the file names its codec, without what cannot be
        printed.
        """
        import cv2

        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        text = code.to_bytes(4, 'little').decode('ascii', 'replace').lower()
        return ''.join(each for each in text if each.isalnum() or each in ' .-').strip()

    def grab(self) -> bool:
        """Makes the next frame that decodes the current one; False at the end.

        A decoder says no over damage, too. It is asked again for as many frames as the file
        promises.
        """
        promised = self.frame_count - self._grabbed - self.failures
        limit = int(min(MOST_TRIES, max(0.0, promised))) + PATIENCE
        before_ns = self.media_time_ns() if self._grabbed else 0
        for tries in range(limit):
            if self._capture.grab():
                self.failures += tries
                self._grabbed += 1
                if tries and self.gap_ns is None:
                    self.gap_ns = before_ns, self.media_time_ns()
                return True
        return False

    def media_time_ns(self) -> int:
        """Returns when the current frame is shown, from the file's zero; index over rate where the
        container has no times.
        """
        import cv2

        milliseconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if milliseconds > 0:
            return round(milliseconds * 1e6) + self.facts.delay_ns
        return round((self._grabbed - 1) / self.fps * NANOSECONDS) + self.facts.delay_ns

    def image(self) -> BgrImage | None:
        """Decodes the current frame; None when it is damaged. MediaError when the images of this
        file cannot be converted.
        """
        is_read, image = self._capture.retrieve()
        if not is_read:
            return None
        result: BgrImage = np.asarray(image, dtype=np.uint8)
        self._check_conversion(result)
        self._last_image = result
        return result

    def rewind(self) -> None:
        """Starts again before the first frame."""
        self.close()
        self._capture = self._open()
        self._grabbed = 0
        self.failures = 0
        self._last_image = None

    def close(self) -> None:
        """Frees the decoder."""
        self._capture.release()

    def packets(self) -> tuple[int, int]:
        """Returns how many frames the file holds and the time of its last one, without decoding
        any; (0, 0) where this OpenCV cannot tell.
        """
        import cv2

        capture = self._open()
        count, last_ns = 0, 0
        try:
            is_raw = capture.set(cv2.CAP_PROP_FORMAT, -1)
            while is_raw and capture.grab():
                time_ns = round(float(capture.get(cv2.CAP_PROP_POS_MSEC)) * 1e6)
                count += time_ns >= 0  # an edit list hides what lies before 0
                last_ns = max(last_ns, time_ns + self.facts.delay_ns)
        finally:
            capture.release()
        return count, last_ns

    def shortest_gap_ns(self) -> int:
        """Returns the shortest time between two of the first frames, without decoding any; 0 where
        this OpenCV cannot tell.
        """
        import cv2

        capture = self._open()
        times: list[int] = []
        try:
            is_raw = capture.set(cv2.CAP_PROP_FORMAT, -1)
            while is_raw and len(times) < FIRST_FRAMES and capture.grab():
                times.append(round(float(capture.get(cv2.CAP_PROP_POS_MSEC)) * 1e6))
        finally:
            capture.release()
        times.sort()  # they come in the order of decoding
        gaps = (later - earlier for earlier, later in zip(times, times[1:], strict=False))
        return min((gap for gap in gaps if gap > 0), default=0)

    def _check_conversion(self, image: BgrImage) -> None:
        """Looks into an image that equals the one before, as a failed conversion gives it."""
        if (
            self._suspicions >= SUSPICIONS
            or self._last_image is None
            or not np.array_equal(image, self._last_image)
        ):
            return
        self._suspicions += 1
        require_conversion(self.path, self._grabbed - 1)

    def _open(self) -> Any:
        prepare('cv2')
        import cv2

        if not is_utf8(self.path):
            raise MediaError(
                f'cannot read {self.path}',
                'OpenCV takes names in UTF-8, and this one is not, or the files of this system are '
                f'named in {sys.getfilesystemencoding()}',
                'Rename it, for example: mv FILE video.mp4; or type: export LC_ALL=C.UTF-8',
            )
        # An absolute path is no address, and FFmpeg takes no % in it for a number of an image.
        name = str(self.path.absolute())
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if not capture.isOpened() and not set(name) & set('%?#'):
            capture = cv2.VideoCapture(name)  # OpenCV of JetPack reads with GStreamer
        if not capture.isOpened():
            raise unreadable(self.path, 'it is not a video that this OpenCV decodes')
        return capture


class VideoRecording:
    """A video file as a recording. A call of `frames` decodes it from the start, since times of
    other places are not to be had exactly, or from where the call before stopped.

    MediaError when it cannot be opened, or when none of its frames can be decoded.
    """

    origin_ns = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        reader = VideoReader(path)
        try:
            self.fps = reader.fps
            self.duration_ns = (
                int(reader.frame_count / reader.fps * NANOSECONDS) + reader.facts.delay_ns
            )
            require_images(reader)
        finally:
            reader.close()
        self.account = Account()
        self._stopped: tuple[VideoReader, int] | None = None

    def length_ns(self) -> int:
        """Implements Recording: of a rate that changes, or of a stream without a head, only the
        times of all frames tell it. An OpenCV that cannot tell them has to decode all.
        """
        reader = VideoReader(self.path)
        try:
            _, last_ns = reader.packets()
            if not last_ns:
                while reader.grab():
                    last_ns = reader.media_time_ns()
        finally:
            reader.close()
        return last_ns + 1

    def frames(
        self, sample_fps: float = 0.0, start_ns: int = 0, end_ns: int | None = None
    ) -> Iterator[tuple[int, Image]]:
        """Implements Recording: times count from the file's zero. Frames that do not decode are
        left out, and accounted for.
        """
        import cv2

        reader, is_grabbed = self._begun(start_ns)
        account = self.account
        sampler = RecordingSampler(sample_fps)
        try:
            while is_grabbed or reader.grab():
                is_grabbed = False
                time_ns = reader.media_time_ns()
                if end_ns is not None and time_ns >= end_ns:
                    account.stop()
                    self._stopped = reader, end_ns
                    return
                if time_ns < start_ns or not sampler.is_due(time_ns):
                    account.pass_over(time_ns)
                    continue
                image = reader.image()
                if image is None:
                    account.leave_out(CAUSE, 'a frame does not decode', time_ns=time_ns)
                    continue
                sampler.take(time_ns)
                account.use(time_ns)
                yield time_ns, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            self._close_account(reader)
        finally:
            if self._stopped is None or self._stopped[0] is not reader:
                reader.close()

    def _begun(self, start_ns: int) -> tuple[VideoReader, bool]:
        """Returns what to read on with, and whether its current frame is still to be looked at."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None and start_ns >= stopped[1]:
            self.account.read_on()
            return stopped[0], True
        if stopped is not None:
            stopped[0].close()
        self.account = Account()
        return VideoReader(self.path), False

    def _close_account(self, reader: VideoReader) -> None:
        """Compares what was decoded with what the file holds, and with what it promises."""
        account = self.account
        is_odd = reader.failures or account.total != round(reader.frame_count)
        packets, last_ns = reader.packets() if is_odd else (0, 0)
        lost = packets - account.total
        if lost > 0 and reader.codec not in WITH_HIDDEN_FRAMES:
            start_ns, end_ns = reader.gap_ns or (account.last_ns or 0, last_ns)
            reason = (
                f'from {start_ns / NANOSECONDS:.1f} to {end_ns / NANOSECONDS:.1f} s first, frames '
                f'do not decode (codec {codec_name(reader.codec)}): the file is damaged there, or '
                'this OpenCV lacks what it takes'
            )
            account.leave_out(CAUSE, reason, count=lost, time_ns=last_ns)
        promised = round(reader.frame_count) - account.total
        if reader.facts.has_count and promised > 0 and not reader.facts.is_cut:
            reason = f'the head of the file counts {round(reader.frame_count)} frames'
            account.leave_out('missing', reason, count=promised, time_ns=self.duration_ns)
        if reader.facts.is_cut:
            account.is_cut = True
            seconds = (account.last_ns or 0) / NANOSECONDS
            account.notes.append(
                f'{self.path.name} is cut off: it is shorter than it says itself. Its last image '
                f'is at {seconds:.1f} s of {self.duration_ns / NANOSECONDS:.1f} s'
            )


def codec_name(code: str) -> str:
    """Returns what people call a codec, with its four characters."""
    name = CODECS.get(code)
    return f'{name} ({code})' if name else code or 'unknown'


def require_images(reader: VideoReader) -> None:
    """Raises MediaError when a file has no frame that can be decoded and converted.

    It tries the first two, since a failed conversion shows only in the second.
    """
    images = 0
    while images < 2 and reader.grab():
        images += reader.image() is not None
    if images == 1:
        require_conversion(reader.path, 0)
    if images:
        return
    count, _ = reader.packets()
    if not count:
        raise unreadable(reader.path, 'it holds no frame')
    raise unreadable(
        reader.path,
        f'its codec is {codec_name(reader.codec)}, and this OpenCV decodes none of its {count} '
        'frames',
    )


def require_conversion(path: Path, index: int) -> None:
    """Raises MediaError when OpenCV fails to convert the image of that index, or the one before
    it.
    """
    fault = conversion_fault(path, index)
    if fault:
        raise MediaError(
            f'cannot read {path}',
            fault,
            f'Type: ffmpeg -i {shlex.quote(str(path))} -vf yadif -c:v libx264 video.mp4',
        )


def require_readable(path: Path) -> None:
    """Raises MediaError when the system does not let this process read a file, or it is empty."""
    try:
        with path.open('rb') as file:
            is_empty = not file.read(1)
    except OSError as error:
        why, fix = system_reason(error)
        raise MediaError(f'cannot read {path}', why, fix) from error
    if is_empty:
        raise MediaError(
            f'{path} is empty',
            'it has no byte: the recorder was killed before it wrote, or the disk was full',
            'Record it, or copy it, again',
        )


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
        f'Convert it, for example: ffmpeg -i {shlex.quote(str(path))} -c:v libx264 video.mp4',
    )
