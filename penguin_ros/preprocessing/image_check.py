# SPDX-License-Identifier: Apache-2.0
"""Refuses arrays that are no images before anything is computed from them. Knows neither clips nor prompts."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.errors import ImageShapeError
from penguin_ros.frame import Image


def check_images(images: Sequence[Image]) -> None:
    """ImageShapeError unless all are (height, width, 3) uint8, not empty, and of one size."""
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ImageShapeError(f'an array of shape {image.shape} and type {image.dtype} is no picture',
                                  'pictures are (height, width, 3) uint8 RGB with at least one pixel')
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise ImageShapeError('the frames of a video differ in size', f'{sizes[0]} and {sizes[-1]} (height, width)',
                              'Make a clip of frames of one size')
