# SPDX-License-Identifier: Apache-2.0
"""The images that a request brings, decoded by the preparer (see `preparation.py`)."""

from __future__ import annotations

from penguin_ros.config import BufferConfig
from penguin_ros.frame import Image
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.convert import reduced
from penguin_ros.request import EncodedImage


class RequestImages:
    """The images of one request on their way from bytes to pixels, under the limits of the
    settings at its receipt; `stamps_ns`: when they were taken, () where that is not known.
    """

    def __init__(
        self,
        encoded: tuple[EncodedImage, ...],
        limits: BufferConfig,
        stamps_ns: tuple[int, ...] = (),
    ) -> None:
        self.stamps_ns = stamps_ns
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

    def prepare(self) -> None:
        """Decodes all images, unless they are dropped meanwhile; on the preparer's thread.

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
