# SPDX-License-Identifier: Apache-2.0
"""Images as the bytes that a request brings."""

from __future__ import annotations

import io

import PIL.Image

from penguin_ros.frame import Image
from penguin_ros.request import EncodedImage


def encoded(image: Image, kind: str = 'PNG') -> EncodedImage:
    """The image as a file; of a PNG the pixels come out as they went in."""
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, kind)
    return EncodedImage(stream.getvalue(), kind.lower())
