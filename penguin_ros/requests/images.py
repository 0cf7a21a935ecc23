# SPDX-License-Identifier: Apache-2.0
"""The images that a request brings are decoded on a thread of their own, beside the worker.

Meanwhile the request waits in the scheduler's line, where others pass it (Job.is_ready). So its
place, its deadline, its cancellation and the number of requests that wait are the scheduler's
business, as for any other request.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from penguin_ros.config import BufferConfig
from penguin_ros.errors import PenguinError
from penguin_ros.frame import Image
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.convert import reduced
from penguin_ros.request import EncodedImage


class RequestImages:
    """The images of one request on their way from bytes to pixels, under the limits of the
    settings at its receipt.
    """

    def __init__(self, encoded: tuple[EncodedImage, ...], limits: BufferConfig) -> None:
        self._encoded = encoded
        self._limits = limits
        self._decoded: tuple[Image, ...] = ()
        self._is_dropped = False

    @property
    def is_ready(self) -> bool:
        """Whether all images are decoded; any thread."""
        return bool(self._decoded)

    @property
    def decoded(self) -> tuple[Image, ...]:
        """The images, each (height, width, 3) uint8 RGB; empty until they are ready."""
        return self._decoded

    def decode(self) -> None:
        """Decodes all images, unless they are dropped meanwhile; on the decoder's thread.

        Raises CorruptImage, ImageTooLarge (more than buffer.max_image_pixels), UnsupportedEncoding.
        """
        encoded, self._encoded = self._encoded, ()
        decoded: list[Image] = []
        for image in encoded:
            if self._is_dropped:
                return
            pixels = decode_compressed(
                image.content,
                self._limits.max_image_pixels,
                image.label,
                self._limits.white_level,
                self._limits.stored_rgb,
            )
            decoded.append(reduced(pixels, self._limits.max_frame_pixels))
        if not self._is_dropped:
            self._decoded = tuple(decoded)

    def drop(self) -> None:
        """Frees the images, since nobody needs them any more; any thread."""
        self._is_dropped = True
        self._encoded = ()
        self._decoded = ()


class ImageDecoder:
    """Decodes the images of one request after the other; `report` gets a sentence and an exception
    that nobody expected. The thread begins with the first image.
    """

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self._report = report
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix='penguin images')

    def start(self, images: RequestImages, on_end: Callable[[PenguinError | None], None]) -> None:
        """Returns at once; `on_end` is called on the decoder's thread, with the error if there was
        one, and never after `close`.
        """
        with suppress(RuntimeError):  # closed meanwhile: the scheduler ends the request
            self._pool.submit(self._decode, images, on_end)

    def close(self) -> None:
        """Decodes no further request."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, images: RequestImages, on_end: Callable[[PenguinError | None], None]) -> None:
        failure: PenguinError | None = None
        try:
            images.decode()
        except PenguinError as error:
            failure = error.fresh()
        except Exception as error:
            self._report('decoding the images of a request failed', error)
            failure = PenguinError(
                'the images could not be decoded', repr(error), 'The log has the details'
            )
        on_end(failure)
