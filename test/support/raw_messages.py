# SPDX-License-Identifier: Apache-2.0
"""Messages with the fields of sensor_msgs/Image, made without ROS."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np


def raw_message(
    encoding: str,
    height: int,
    width: int,
    row_bytes: int,
    data: bytes,
    padding: int = 0,
    is_bigendian: int = 0,
) -> SimpleNamespace:
    """Returns a message of `data`, `height` rows of `row_bytes` with `padding` bytes after each."""
    rows = np.frombuffer(data, np.uint8).reshape(height, row_bytes)
    padded = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=row_bytes + padding,
        data=array.array('B', padded.tobytes()),
    )
