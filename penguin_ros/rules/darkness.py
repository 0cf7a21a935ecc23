# SPDX-License-Identifier: Apache-2.0
"""Whether an image is too dark to say anything about what it shows."""

from __future__ import annotations

import numpy as np

from penguin_ros.frame import Image

BRIGHT_SHARE = 0.99
STRIDE_PIXELS = 4
"""Every so many rows and columns are looked at."""


def is_too_dark(image: Image, level: int) -> bool:
    """Returns whether even the brightest parts of the image, the 99th percentile of its brightest
    channel, are darker than `level` (0..255); for 0 no image is.
    """
    if not level:
        return False
    brightness = image[::STRIDE_PIXELS, ::STRIDE_PIXELS].max(axis=2).ravel()
    place = int(BRIGHT_SHARE * (brightness.size - 1))
    return bool(np.partition(brightness, place)[place] < level)
