# SPDX-License-Identifier: Apache-2.0
"""Reads animated images (GIF, WebP, PNG), and still ones of these formats and JPEG, as recordings,
with Pillow: OpenCV knows some of them, and their times hardly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from penguin_ros.config import BufferConfig
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.frame_sampling import RecordingSampler
from penguin_ros.media.recording import Account
from penguin_ros.media.video import CAUSE, MediaError
from penguin_ros.system_reasons import system_reason

FORMATS = ('GIF', 'WEBP', 'PNG', 'JPEG')
MILLISECOND_NS = NANOSECONDS // 1000
USUAL_MS, LEAST_MS = 100, 20
"""How long programs show an image that asks for less than LEAST_MS."""


class AnimationRecording:
    """An image file as a recording; MediaError when Pillow cannot read it."""

    origin_ns = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account = Account()
        self._times_ns, self.duration_ns = self._read_times()

    def length_ns(self) -> int:
        """Implements Recording."""
        return self.duration_ns

    def frames(
        self, sample_fps: float = 0.0, start_ns: int = 0, end_ns: int | None = None
    ) -> Iterator[tuple[int, Image]]:
        """Implements Recording."""
        import PIL.Image

        self.account = account = Account()
        sampler = RecordingSampler(sample_fps)
        with PIL.Image.open(self.path, formats=FORMATS) as image:
            for number, time_ns in enumerate(self._times_ns):
                if end_ns is not None and time_ns >= end_ns:
                    account.stop()
                    return
                if time_ns < start_ns or not sampler.is_due(time_ns):
                    account.pass_over(time_ns)
                    continue
                try:
                    image.seek(number)
                    pixels = np.ascontiguousarray(image.convert('RGB'), dtype=np.uint8)
                except Exception as error:  # decoders raise OSError, SyntaxError, EOFError and more
                    account.leave_out(CAUSE, f'an image does not decode: {error}', time_ns=time_ns)
                    continue
                sampler.take(time_ns)
                account.use(time_ns)
                yield time_ns, pixels

    def _read_times(self) -> tuple[list[int], int]:
        """Returns when each image is shown, and when the last one ends."""
        import PIL.Image

        times, now_ns = [], 0
        try:
            with PIL.Image.open(self.path, formats=FORMATS) as image:
                if image.width * image.height > BufferConfig.max_image_pixels:
                    raise MediaError(
                        f'cannot read {self.path}',
                        f'an image of {image.width}x{image.height} pixels is larger than the '
                        f'{BufferConfig.max_image_pixels} allowed',
                        'Make it smaller',
                    )
                for number in range(getattr(image, 'n_frames', 1)):
                    image.seek(number)
                    if image.format == 'WEBP':  # tells its times only then
                        image.load()
                    times.append(now_ns)
                    shown = image.info.get('duration', 0)
                    now_ns += round(shown if shown >= LEAST_MS else USUAL_MS) * MILLISECOND_NS
        except OSError as error:
            if error.errno is not None:
                why, fix = system_reason(error)
                raise MediaError(f'cannot read {self.path}', why, fix) from error
            if not times:
                raise _damaged(self.path, error) from error
        except MediaError:
            raise
        except Exception as error:  # decoders raise SyntaxError, EOFError and more
            if not times:
                raise _damaged(self.path, error) from error
        return times, now_ns


def _damaged(path: Path, error: Exception) -> MediaError:
    return MediaError(
        f'cannot read {path}', f'it is damaged: {error}', 'Copy it again from where it came from'
    )
