# SPDX-License-Identifier: Apache-2.0
"""Image messages, raw or compressed, to RGB arrays.

Imports no ROS: anything with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage will do.
"""
from __future__ import annotations

from typing import Any

from penguin_ros.config import QuestionConfig
from penguin_ros.frame import Image
from penguin_ros.ros.compressed_image import decode_compressed
from penguin_ros.ros.cv_bridge_image import bridged_to_rgb, can_bridge
from penguin_ros.ros.raw_image import checked_encoding, raw_to_rgb


def message_to_rgb(message: Any, max_pixels: int = QuestionConfig.max_image_pixels) -> Image:
    """The picture as (height, width, 3) uint8 RGB, C-contiguous; it may share the memory of a raw message's data.

    A compressed picture of more than `max_pixels` is refused before it is decoded; a raw one is as large as its data.
    Raises ImageError: UnsupportedEncoding, CorruptImage, ImageTooLarge, ImageShapeError.
    """
    if hasattr(message, 'encoding'):
        encoding = checked_encoding(message)
        if can_bridge(message, encoding):
            return bridged_to_rgb(message)
        return raw_to_rgb(message, encoding)
    return decode_compressed(message.data, max_pixels, message.format)
