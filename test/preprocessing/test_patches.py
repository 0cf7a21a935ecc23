# SPDX-License-Identifier: Apache-2.0
"""Pixels of the golden cases to the bit; order of patches; normalising per channel."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden_cases import VISUAL, arrays_of, images_of

from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.shapes import ProcessorShape
from penguin_ros.frame import Frame, FrameType
from penguin_ros.model_inputs import FramePatches
from penguin_ros.preprocessing.patches import to_patches

PROCESSOR = ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 16384, 14, 1, 2, 1.0, 180)
UNCHANGED = replace(PROCESSOR, image_mean=(0.0,) * 3, image_std=(1.0,) * 3, rescale_factor=1.0)
"""Levels come out as they are."""


@pytest.mark.parametrize('name', VISUAL)
def test_pixels_equal_the_golden_ones(
    golden_dir: Path, golden_checkpoint: Checkpoint, name: str
) -> None:
    case = arrays_of(golden_dir, name)
    frames = [
        to_patches(
            Frame(0, image),
            (int(rows) * 14, int(columns) * 14),
            int(merge),
            golden_checkpoint.shape.processor,
        )
        for image, (_, rows, columns), merge in zip(
            images_of(case), case['grid_sizes'], case['merge_sizes'], strict=True
        )
    ]
    pixels = np.concatenate([frame.pixels for frame in frames])
    assert pixels.dtype == np.float32 and pixels.shape == case['pixel_values'].shape
    assert np.abs(pixels - case['pixel_values']).max() <= 1e-6
    assert [frame.tokens for frame in frames] == [
        int(np.prod(grid)) // int(merge) ** 2
        for grid, merge in zip(case['grid_sizes'], case['merge_sizes'], strict=True)
    ]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_stand_in_merge_block_order(
    merge: int, block_rows: int, block_columns: int
) -> None:
    rows, columns = merge * block_rows, merge * block_columns
    numbers = np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns)
    image = np.repeat(np.repeat(numbers, 14, 0), 14, 1)[:, :, None].repeat(3, 2)
    frame = to_patches(Frame(0, image), image.shape[:2], merge, UNCHANGED)
    expected = [
        numbers[top + row, left + column]
        for top in range(0, rows, merge)
        for left in range(0, columns, merge)
        for row in range(merge)
        for column in range(merge)
    ]
    assert frame.pixels[:, 0].tolist() == [float(number) for number in expected]
    assert (frame.rows, frame.columns, frame.merge_size, frame.tokens) == (
        rows,
        columns,
        merge,
        block_rows * block_columns,
    )


def test_a_patch_is_channel_then_row_then_column() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    frame = to_patches(Frame(0, image), (28, 28), 2, UNCHANGED)
    assert np.array_equal(frame.pixels[1].reshape(3, 14, 14), image[:14, 14:].transpose(2, 0, 1))


def test_channels_are_normalised_with_their_own_mean_and_deviation() -> None:
    processor = replace(PROCESSOR, image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.25, 0.125))
    frame = to_patches(
        Frame(0, np.full((14, 14, 3), (0, 51, 255), np.uint8)), (14, 14), 1, processor
    )
    values = frame.pixels.reshape(3, 196)
    assert np.allclose(values, [[-0.2], [0.0], [5.6]], atol=1e-6)


def test_the_type_travels_along_and_strided_images_are_read_as_they_look() -> None:
    wide = np.random.default_rng(1).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    part = wide[:, 10:70, ::-1]
    frame = to_patches(Frame(0, part), (28, 56), 2, PROCESSOR, FrameType.INTERMEDIATE)
    assert frame.type is FrameType.INTERMEDIATE
    assert np.array_equal(
        frame.pixels, to_patches(Frame(0, part.copy()), (28, 56), 2, PROCESSOR).pixels
    )


@pytest.mark.parametrize('shape', [(1, 1), (1, 4000), (4000, 1)])
def test_odd_shapes_are_resized(shape: tuple[int, int]) -> None:
    frame = to_patches(Frame(0, np.full((*shape, 3), 255, np.uint8)), (28, 56), 1, PROCESSOR)
    assert np.array_equal(frame.pixels, np.ones((8, 588), np.float32))


def key(
    image: np.ndarray,
    size: tuple[int, int] = (28, 56),
    merge: int = 1,
    processor: ProcessorShape = PROCESSOR,
) -> bytes:
    return to_patches(Frame(0, image), size, merge, processor).key


def test_a_key_stands_for_pixels_size_and_constants() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    assert key(image) == key(image.copy())
    others = [
        key(image + 1),
        key(image, (56, 28)),
        key(image, (28, 28)),
        key(image, (28, 56), 2),
        key(image[:-1]),
        key(image, processor=replace(PROCESSOR, image_mean=(0.5, 0.5, 0.4))),
        key(image, processor=replace(PROCESSOR, image_std=(0.5, 0.5, 0.4))),
        key(image, processor=replace(PROCESSOR, rescale_factor=1 / 256)),
    ]
    assert len({key(image), *others}) == 1 + len(others)


def test_pixels_are_not_computed_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> np.ndarray:
        raise AssertionError('resized')

    monkeypatch.setattr('penguin_ros.preprocessing.patches.resized', refuse)
    frame = to_patches(Frame(0, np.zeros((40, 80, 3), np.uint8)), (28, 56), 2, PROCESSOR)
    assert (frame.rows, frame.columns, frame.tokens) == (2, 4, 2) and frame.key
    with pytest.raises(AssertionError, match='resized'):
        _ = frame.pixels


def test_frames_that_threads_make_at_once_have_the_bits_of_one_after_the_other() -> None:
    images = np.random.default_rng(5).integers(0, 256, (8, 90, 160, 3), np.uint8)

    def frames() -> list[FramePatches]:
        return [to_patches(Frame(0, image), (56, 84), 2, PROCESSOR) for image in images]

    alone, together = frames(), frames()
    threads = [threading.Thread(target=lambda frame=frame: frame.values) for frame in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert other.levels is not None and other.values.dtype == np.uint8
