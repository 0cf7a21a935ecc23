# SPDX-License-Identifier: Apache-2.0
"""Makes a picture smaller before it is kept. Knows nothing of the model: its own resize, the exact one, comes later."""
from __future__ import annotations

import math

import numpy as np

from penguin_ros.frame import Image


def reduced(image: Image, max_pixels: int) -> Image:
    """The picture itself when it has at most `max_pixels`, else one of nearly the same proportions that has (area average)."""
    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    import cv2
    scale = math.sqrt(max_pixels / (height * width))
    new_height = min(max(1, int(height * scale)), max_pixels)
    new_width = max(1, min(int(width * scale), max_pixels // new_height))
    new_height = max(1, min(new_height, max_pixels // new_width))
    return np.asarray(cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
