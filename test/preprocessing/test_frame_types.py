# SPDX-License-Identifier: Apache-2.0
"""Key and intermediate frames: golden values, the comparison's own rules, real video against a
plain implementation.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.frame_plans import similarity
from support.golden_cases import VIDEOS, arrays_of

from penguin_ros.frame import FrameType, Image
from penguin_ros.preprocessing.frame_types import (
    FrameTyper,
    frame_types,
    signature_size,
)

KEY, INTERMEDIATE = FrameType.KEY, FrameType.INTERMEDIATE


def _noise(seed: int, height: int = 140, width: int = 140) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _even(color: tuple[int, int, int], height: int = 140, width: int = 140) -> Image:
    return np.full((height, width, 3), color, np.uint8)


WHITE, BLUE = _even((255, 255, 255)), _even((0, 0, 60))
"""Far apart in hue, saturation and value."""


@pytest.mark.parametrize('name', VIDEOS)
def test_types_equal_the_golden_ones(golden_dir: Path, name: str) -> None:
    case = arrays_of(golden_dir, name)
    assert [int(kind) for kind in frame_types(case['frames'])] == case['frame_types'].tolist()


def test_real_video_is_as_similar_as_pytorch_and_plain_sums_say(video_path: Path) -> None:
    first, *others = _video_frames(video_path, every=60, count=10)
    others += [
        np.where(other > 40 * level, 255 - other, other) for level, other in enumerate(others[:6])
    ]  # in part inverted
    measured = [similarity(first, other) for other in others]
    # PyTorch's resize rounds otherwise on other processors: one patch may lie just beyond the
    # limit.
    one_patch = 1.01 / len(_patches(_plain_hsv(first)))
    assert measured == pytest.approx(
        [_plain_similarity(_plain_hsv(first), _plain_hsv(other)) for other in others], abs=one_patch
    )
    assert min(measured) < 0.8 and len(set(measured)) > 8


def test_real_video_with_changes_of_light_has_the_types_of_the_plain_rules(
    video_path: Path,
) -> None:
    frames = [
        255 - frame if index % 7 in (2, 3, 5) else frame
        for index, frame in enumerate(_video_frames(video_path, every=30, count=20))
    ]
    types = frame_types(frames)
    assert types == _plain_types(frames)
    assert 1 < types.count(KEY) < len(frames)


def test_frames_one_by_one_have_the_types_of_the_clip(video_path: Path) -> None:
    frames, typer = _video_frames(video_path, every=25, count=12), FrameTyper()
    assert tuple(typer.add(frame) for frame in frames) == frame_types(frames)


def test_a_frame_is_compared_with_the_latest_key_frame_not_the_one_before() -> None:
    assert frame_types([WHITE, WHITE, BLUE, BLUE, WHITE]) == (
        KEY,
        INTERMEDIATE,
        KEY,
        INTERMEDIATE,
        KEY,
    )


def test_identical_frames_are_fully_similar() -> None:
    assert similarity(_noise(1), _noise(1)) == 1.0


def test_similarity_is_the_share_of_patches_alike() -> None:
    first = _even((200, 30, 30))  # hue 0
    second = first.copy()
    second[:14, :70] = (255, 255, 255)  # 5 of 100 patches: no hue, no saturation
    assert similarity(first, second) == pytest.approx(0.95)
    second[14:28, :14] = 0
    assert similarity(first, second) == similarity(second, first) == pytest.approx(0.94)
    assert frame_types([first, second]) == (KEY, KEY)


def test_patches_black_in_both_frames_count_for_nothing() -> None:
    first, second = _even((0, 0, 0)), _even((0, 0, 0))
    first[:14, :28], second[:14, :14] = (0, 200, 0), (0, 200, 0)
    assert similarity(first, second) == pytest.approx(0.5)


def test_black_frames_are_alike_and_black_is_unlike_light() -> None:
    black, light = _even((0, 0, 0)), _even((180, 180, 180))
    assert similarity(black, black) == 1.0
    assert similarity(black, light) == 0.0
    assert frame_types([black, black, light, black]) == (KEY, INTERMEDIATE, KEY, KEY)


def test_frames_of_another_size_are_key_frames() -> None:
    assert frame_types([_noise(1), _noise(1, 280, 140)]) == (KEY, KEY)


def test_padded_rows_and_reversed_channels_are_read_as_they_look() -> None:
    wide = _noise(3, 140, 200)
    assert similarity(wide[:, :140], wide[:, :140].copy()) == 1.0
    assert similarity(wide[:, :140, ::-1], wide[:, :140, ::-1].copy()) == 1.0


@pytest.mark.parametrize(
    ('raw', 'size'),
    [
        ((1080, 1920), (1050, 1876)),  # above the limit: floored
        ((480, 640), (476, 644)),  # nearest multiples
        ((21, 35), (42, 70)),  # below the limit: ceiled
        ((49, 315), (56, 308)),  # half a patch: to the even multiple
        ((1, 1), (56, 56)),
        ((1, 4000), (14, 4004)),
        ((4000, 1), (4004, 14)),
        ((1, 10**7), (14, 4480000)),
    ],
)
def test_frames_are_compared_in_whole_patches(raw: tuple[int, int], size: tuple[int, int]) -> None:
    assert signature_size(*raw) == size


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 4000), (4000, 1), (13, 13), (15, 2900)])
def test_odd_shapes_have_types(height: int, width: int) -> None:
    white, blue = _even((255, 255, 255), height, width), _even((0, 0, 60), height, width)
    assert frame_types([white, white, blue]) == (KEY, INTERMEDIATE, KEY)


def test_no_frames_have_no_types() -> None:
    assert frame_types([]) == ()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 90), st.integers(1, 90))
def test_a_clip_begins_with_a_key_frame_and_repeats_are_intermediate(
    seeds: list[int], height: int, width: int
) -> None:
    frames = [_noise(seed, height, width) for seed in seeds]
    types = frame_types(frames)
    assert types[0] is KEY
    assert all(kind is INTERMEDIATE for kind in frame_types([frames[0]] * 3)[1:])
    assert all(
        types[at] is INTERMEDIATE for at in range(1, len(seeds)) if seeds[at] == seeds[at - 1]
    )


def _video_frames(path: Path, every: int, count: int) -> list[Image]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < count:
        is_read, image = capture.read()
        if not is_read:
            break
        if int(capture.get(cv2.CAP_PROP_POS_FRAMES)) % every == 1:
            frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    capture.release()
    return frames


def _plain_types(frames: list[Image]) -> tuple[FrameType, ...]:
    converted = [_plain_hsv(frame) for frame in frames]
    types, key = [KEY], converted[0]
    for frame in converted[1:]:
        is_key = _plain_similarity(key, frame) < 0.95
        types.append(KEY if is_key else INTERMEDIATE)
        key = frame if is_key else key
    return tuple(types)


def _plain_similarity(first: Image, second: Image) -> float:
    """The rule written plainly, patch by patch in doubles."""
    pairs = zip(_patches(first), _patches(second), strict=True)
    return float(np.mean([_cosine(a, b) > 0.7 for a, b in pairs if a.any() or b.any()]))


def _plain_hsv(image: Image) -> Image:
    """The frame as it is compared, resized by PyTorch."""
    torch = pytest.importorskip('torch')
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()[None]
    size = signature_size(*image.shape[:2])
    resized = torch.nn.functional.interpolate(tensor, size, mode='bilinear', antialias=True)[0]
    return cv2.cvtColor(
        np.ascontiguousarray(resized.numpy().astype(np.uint8).transpose(1, 2, 0)), cv2.COLOR_RGB2HSV
    )


def _patches(hsv: Image) -> list[np.ndarray]:
    return [
        hsv[top : top + 14, left : left + 14].astype(np.float64).ravel()
        for top in range(0, hsv.shape[0], 14)
        for left in range(0, hsv.shape[1], 14)
    ]


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(
        first @ second / ((np.linalg.norm(first) + 1e-8) * (np.linalg.norm(second) + 1e-8))
    )
