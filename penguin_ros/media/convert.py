# SPDX-License-Identifier: Apache-2.0
"""Converts image messages, raw or compressed, to RGB arrays, and reduces images before they are
kept.

Imports no ROS: anything with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage will
do. The exact resize that the model needs comes later, in preprocessing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from penguin_ros.config import BufferConfig
from penguin_ros.frame import Image
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.cv_bridge_image import bridged_to_rgb, can_bridge
from penguin_ros.media.format_text import read_format
from penguin_ros.media.raw import WHITE_LEVEL, checked_encoding, raw_to_rgb


def message_to_rgb(message: Any, limits: BufferConfig | None = None) -> Image:
    """Returns the image as (height, width, 3) uint8 RGB, C-contiguous; it may share the memory of a
    raw message's data.

    `limits` are the settings of the buffer. A compressed image of more than `max_image_pixels` is
    refused before it is decoded; a raw one is as large as its data. Raises ImageError:
    UnsupportedEncoding, CorruptImage, ImageTooLarge, ImageShapeError.
    """
    limits = limits or BufferConfig()
    if hasattr(message, 'encoding'):
        encoding = checked_encoding(message)
        is_whole_range = encoding.sample_bytes == 1 or limits.white_level == WHITE_LEVEL
        if is_whole_range and can_bridge(message, encoding):
            return bridged_to_rgb(message)
        return raw_to_rgb(message, encoding, limits.white_level)
    return decode_compressed(
        message.data,
        limits.max_image_pixels,
        message.format,
        limits.white_level,
        limits.stored_rgb,
    )


def is_16_bit(message: Any) -> bool:
    """Returns whether the message says that its samples have 16 bit."""
    if hasattr(message, 'encoding'):
        return str(message.encoding).endswith('16')
    said = read_format(message.format)
    return said.original.endswith('16') and not said.stored.endswith('8')


def reduced(image: Image, max_pixels: int) -> Image:
    """Returns the image itself when it has at most `max_pixels`, else a smaller one that does.

    The smaller one has nearly the same proportions; its pixels are averages over areas.
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
