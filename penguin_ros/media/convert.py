# SPDX-License-Identifier: Apache-2.0
"""Image messages, raw or compressed, to RGB arrays.

Imports no ROS: anything with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage will
do.

Makes a picture smaller before it is kept. Knows nothing of the model: its own resize, the exact
one, comes later.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from penguin_ros.config import BufferConfig
from penguin_ros.frame import Image
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.cv_bridge_image import bridged_to_rgb, can_bridge
from penguin_ros.media.raw import checked_encoding, raw_to_rgb


def reduced(image: Image, max_pixels: int) -> Image:
    """The picture itself when it has at most `max_pixels`, else one of nearly the same proportions
    that has (area average).
    """
    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    import cv2

    scale = math.sqrt(max_pixels / (height * width))
    new_height = min(max(1, int(height * scale)), max_pixels)
    new_width = max(1, min(int(width * scale), max_pixels // new_height))
    new_height = max(1, min(new_height, max_pixels // new_width))
    return np.asarray(
        cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def message_to_rgb(message: Any, max_pixels: int = BufferConfig.max_image_pixels) -> Image:
    """The picture as (height, width, 3) uint8 RGB, C-contiguous; it may share the memory of a raw
    message's data.

    A compressed picture of more than `max_pixels` is refused before it is decoded; a raw one is as
    large as its data. Raises ImageError: UnsupportedEncoding, CorruptImage, ImageTooLarge,
    ImageShapeError.
    """
    if hasattr(message, 'encoding'):
        encoding = checked_encoding(message)
        if can_bridge(message, encoding):
            return bridged_to_rgb(message)
        return raw_to_rgb(message, encoding)
    return decode_compressed(message.data, max_pixels, message.format)
