# SPDX-License-Identifier: Apache-2.0
"""Which frames of a clip are key frames (temporal redundancy-aware compression).

A frame is compared with the latest key frame before it, patch by patch in HSV; a frame unlike it
becomes a key frame itself.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penguin_ros.frame import FrameType, Image
from penguin_ros.preprocessing.antialias import resize_plane
from penguin_ros.steps import run_to_end

PATCH = 14
MIN_AREA = 10 * PATCH * PATCH
MAX_AREA = 10240 * PATCH * PATCH
SAME_FRAME = 0.95
"""Share of similar patches from which on a frame is intermediate."""
SAME_PATCH = 0.7
"""Cosine above which two patches are similar."""
NEAR_ZERO = 0.01
"""Norm below which a patch is black; two black patches are not compared."""
EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class FrameSignature:
    """What a frame is compared by: its `patches` (rows, 14, columns, 42) float32 HSV and their
    `norms` (rows, columns) float32.
    """

    patches: NDArray[np.float32]
    norms: NDArray[np.float32]


class FrameTyper:
    """Gives the frames of one clip, all of one size, their types one by one; one thread at a time.

    It remembers the latest key frame, so that each frame is resized and converted once.
    """

    def __init__(self) -> None:
        self._key: FrameSignature | None = None

    def add(self, image: Image) -> FrameType:
        """Returns the type of the next frame, `image` (height, width, 3) uint8 RGB."""
        frame = frame_signature(image)
        if self._key is not None and signature_similarity(self._key, frame) >= SAME_FRAME:
            return FrameType.INTERMEDIATE
        self._key = frame
        return FrameType.KEY


def frame_types(images: Iterable[Image]) -> tuple[FrameType, ...]:
    """Returns the types of the frames of one clip in order, all (height, width, 3) uint8 RGB of one
    size; the first is a key frame.
    """
    return run_to_end(frame_type_steps(images))


def frame_type_steps(images: Iterable[Image]) -> Generator[None, None, tuple[FrameType, ...]]:
    """Does the work of frame_types with a yield after each frame."""
    images = tuple(images)
    if len(images) == 1:
        return (FrameType.KEY,)  # nothing to compare with
    typer, types = FrameTyper(), list[FrameType]()
    for image in images:
        types.append(typer.add(image))
        yield
    return tuple(types)


def signature_similarity(first: FrameSignature, second: FrameSignature) -> float:
    """Returns the share of similar patches, 0 to 1. Patches that are black in both frames do not
    count; frames with only such patches have 1, frames of different sizes 0.
    """
    if first.norms.shape != second.norms.shape:
        return 0.0
    products = np.einsum('ipjk,ipjk->ij', first.patches, second.patches)
    is_similar = products / (first.norms * second.norms) > SAME_PATCH
    is_seen = (first.norms >= NEAR_ZERO) | (second.norms >= NEAR_ZERO)
    return float(is_similar[is_seen].mean()) if is_seen.any() else 1.0


def frame_signature(image: Image) -> FrameSignature:
    """Returns the signature of `image` (height, width, 3) uint8 RGB, which is resized to whole
    patches, converted to HSV and cut into patches.
    """
    height, width = signature_size(image.shape[0], image.shape[1])
    resized = np.empty((height, width, 3), np.uint8)
    for channel, plane in enumerate(cv2.split(image)):
        resized[:, :, channel] = resize_plane(plane.astype(np.float32), (height, width)).astype(
            np.uint8
        )
    hsv = cv2.cvtColor(resized, cv2.COLOR_RGB2HSV)
    patches = hsv.astype(np.float32).reshape(height // PATCH, PATCH, width // PATCH, PATCH * 3)
    norms = np.sqrt(np.einsum('ipjk,ipjk->ij', patches, patches)) + np.float32(EPSILON)
    return FrameSignature(patches, norms)


def signature_size(height: int, width: int) -> tuple[int, int]:
    """Returns (height, width), a multiple of PATCH, at which frames of that size are compared."""
    rows, columns = max(round(height / PATCH), 1), max(round(width / PATCH), 1)
    area = rows * columns * PATCH * PATCH
    if area > MAX_AREA:
        scale = math.sqrt(height * width / MAX_AREA)
        rows, columns = math.floor(height / scale / PATCH), math.floor(width / scale / PATCH)
    elif area < MIN_AREA:
        scale = math.sqrt(MIN_AREA / (height * width))
        rows, columns = math.ceil(height * scale / PATCH), math.ceil(width * scale / PATCH)
    return max(rows, 1) * PATCH, max(columns, 1) * PATCH
