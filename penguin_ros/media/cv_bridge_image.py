# SPDX-License-Identifier: Apache-2.0
"""Lets the installed cv_bridge convert a raw image where it gives the same pixels as our own
conversion.

Whether it agrees is tried once per encoding and byte order, on a small image with padded rows: a
package of that name exists that ignores the padding, and versions differ in what they convert.
"""

from __future__ import annotations

import array
import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from penguin_ros.frame import Image
from penguin_ros.media.raw import ENCODINGS, Encoding, raw_to_rgb

_HEIGHT, _WIDTH, _PADDING = 6, 8, 2  # of the image that is tried, in pixels


def can_bridge(message: Any, encoding: Encoding) -> bool:
    """Returns whether cv_bridge is installed and right for images like this one.

    The message's fields must have been checked.
    """
    # cv_bridge takes rows as whole pixels.
    return (
        _bridge() is not None
        and message.step % encoding.pixel_bytes == 0
        and _is_equal(message.encoding, bool(message.is_bigendian))
    )


def bridged_to_rgb(message: Any) -> Image:
    """Does what raw.raw_to_rgb does, by cv_bridge."""
    return np.ascontiguousarray(_bridge().imgmsg_to_cv2(message, 'rgb8'), dtype=np.uint8)


@functools.cache
def _bridge() -> Any:
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # not installed, or built for another numpy or OpenCV: fails in many ways
        return None


@functools.cache
def _is_equal(name: str, is_bigendian: bool) -> bool:
    encoding = ENCODINGS[name]
    step = (_WIDTH + _PADDING) * encoding.pixel_bytes
    samples = np.random.default_rng(0).integers(0, 256, _HEIGHT * step, dtype=np.uint8)
    probe = SimpleNamespace(
        height=_HEIGHT,
        width=_WIDTH,
        encoding=name,
        is_bigendian=int(is_bigendian),
        step=step,
        data=array.array('B', samples.tobytes()),
    )
    try:
        return np.array_equal(bridged_to_rgb(probe), raw_to_rgb(probe, encoding))
    except Exception:  # cv_bridge does not convert this encoding
        return False
