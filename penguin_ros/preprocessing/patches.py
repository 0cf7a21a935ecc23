# SPDX-License-Identifier: Apache-2.0
"""Resizes an image and cuts it into normalised patches.

Pillow resizes (bicubic with antialias on uint8, which OpenCV's cubic is not); the rest is a table
look-up and a reordering.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from penguin_ros.checkpoint.shapes import ProcessorShape
from penguin_ros.frame import Frame, FrameType, Image
from penguin_ros.model_inputs import FramePatches, Levels

# Pillow 9.0, which Ubuntu 22.04 has, does not know Resampling; its module has the name itself.
BICUBIC: Any = getattr(PillowImage, 'Resampling', PillowImage).BICUBIC


def to_patches(
    frame: Frame,
    size: tuple[int, int],
    merge_size: int,
    processor: ProcessorShape,
    frame_type: FrameType = FrameType.KEY,
) -> FramePatches:
    """Returns the patches of `frame` at `size` (height, width), a multiple of patch_size *
    merge_size; the pixels are computed when they are asked for.

    Patches stand in merge-block order: block row, block column, row in the block, column in the
    block.
    """
    rows, columns = size[0] // processor.patch_size, size[1] // processor.patch_size
    content = hashlib.blake2b(frame.digest, digest_size=16, key=_constants(processor)).digest()
    levels = partial(_levels, frame.image, size, merge_size, processor)
    return FramePatches(levels, rows, columns, merge_size, frame_type, content)


def _levels(
    image: Image, size: tuple[int, int], merge_size: int, processor: ProcessorShape
) -> Levels:
    patch = processor.patch_size
    rows, columns = size[0] // patch, size[1] // patch
    blocks = resized(image, size).reshape(
        rows // merge_size, merge_size, patch, columns // merge_size, merge_size, patch, 3
    )
    values = blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, -1)
    return Levels(
        values, _tables(processor.image_mean, processor.image_std, processor.rescale_factor)
    )


@lru_cache(maxsize=8)
def _constants(processor: ProcessorShape) -> bytes:
    """Returns 16 bytes that stand for all that pixels depend on besides the image and its size."""
    facts = (
        processor.patch_size,
        processor.image_mean,
        processor.image_std,
        processor.rescale_factor,
    )
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).digest()


def resized(image: Image, size: tuple[int, int]) -> Image:
    """Returns the image at `size` (height, width), as the model sees it: bicubic with antialias on
    uint8.
    """
    height, width = size
    return np.asarray(PillowImage.fromarray(image).resize((width, height), BICUBIC))


@lru_cache(maxsize=8)
def _tables(
    mean: tuple[float, ...], std: tuple[float, ...], rescale_factor: float
) -> NDArray[np.float32]:
    """Returns the normalised value of each level by channel, (3, 256), rounded where the reference
    rounds.
    """
    levels = (np.arange(256) * np.float64(rescale_factor)).astype(np.float32)
    means = np.array(mean, np.float32)[:, None]
    deviations = np.array(std, np.float32)[:, None]
    return (levels[None, :] - means) / deviations
