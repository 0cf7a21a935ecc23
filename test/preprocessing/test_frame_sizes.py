# SPDX-License-Identifier: Apache-2.0
"""Sizes: golden values, the reference's stages, and what must hold for every size and budget."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.golden_cases import VISUAL, arrays_of, images_of

from penguin_ros.frame import FrameType
from penguin_ros.preprocessing.frame_sizes import (
    Size,
    fixed_sizes,
    floor_tokens,
    frame_sizes,
    size_at_most,
    sizes_within,
    tokens_of,
)

KEY, INTERMEDIATE = FrameType.KEY, FrameType.INTERMEDIATE
RAW = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
TYPES = st.lists(st.sampled_from(FrameType), max_size=40).map(lambda later: (KEY, *later))
MERGE = st.sampled_from((1, 2))
MIN_TOKENS = st.sampled_from((1, 16, 100, 1024))


@pytest.mark.parametrize('name', VISUAL)
def test_sizes_equal_the_golden_ones(golden_dir: Path, name: str) -> None:
    case = arrays_of(golden_dir, name)
    images = images_of(case)
    types = [FrameType(int(kind)) for kind in case.get('frame_types', [0])]
    sizes = frame_sizes(
        images[0].shape[:2], types, int(case['merge_size']), 14, 16, int(case['max_tokens'])
    )
    assert [[1, height // 14, width // 14] for height, width in sizes] == case[
        'grid_sizes'
    ].tolist()


def test_frames_within_the_budget_keep_their_area_whatever_their_type() -> None:
    assert frame_sizes((480, 640), (KEY, INTERMEDIATE), 2, 14, 16, 1024) == [(476, 644)] * 2


def test_key_frames_have_sixteen_times_the_area_of_intermediate_ones_when_the_budget_is_short() -> (
    None
):
    key, intermediate = frame_sizes((1000, 1000), (KEY, INTERMEDIATE), 1, 14, 1, 1700)
    assert (key, intermediate) == (
        (546, 546),
        (140, 140),
    )  # 0.95 * 1700 / (1 + 1/16) = 1520 tokens, and 95


def test_intermediate_frames_are_pinned_to_the_floor_and_keys_share_the_rest() -> None:
    # Floor 24 tokens; key (0.95 * 200 - 2 * 24) / 1 = 142 tokens.
    assert frame_sizes((700, 700), (KEY, INTERMEDIATE, INTERMEDIATE), 1, 14, 16, 200) == [
        (168, 168),
        (70, 70),
        (70, 70),
    ]


def test_small_images_are_enlarged_to_the_floor_rounded_up() -> None:
    assert frame_sizes((1, 1), (KEY,), 1, 14, 16, 16384) == [(70, 70)]
    assert frame_sizes((1, 1), (KEY,), 2, 14, 16, 16384) == [(140, 140)]


def test_half_a_factor_rounds_to_the_even_multiple() -> None:
    assert frame_sizes((7 * 25, 14 * 100), (KEY,), 1, 14, 1, 16384) == [(14 * 12, 1400)]


def test_one_kind_of_frame_has_one_size() -> None:
    assert len(set(frame_sizes((333, 777), (KEY,) * 9, 2, 14, 16, 300))) == 1


@given(RAW, TYPES, MERGE, MIN_TOKENS, st.integers(16, 16384))
def test_reference_sizes_are_whole_and_one_per_type(
    raw: Size, types: tuple[FrameType, ...], merge: int, least: int, budget: int
) -> None:
    sizes = frame_sizes(raw, types, merge, 14, least, budget)
    assert len(sizes) == len(types)
    assert all(side >= 14 * merge and side % (14 * merge) == 0 for size in sizes for side in size)
    assert len(set(zip(types, sizes, strict=True))) == len(set(types))


@given(RAW, TYPES, MERGE, MIN_TOKENS, st.integers(16, 16384))
# Between its own area (25 tokens) and the floor, this frame is rounded to 24.
@example((15, 344), (KEY,), 1, 16, 26)
def test_sizes_within_never_exceed_the_budget_nor_go_below_the_floor_unsaid(
    raw: Size, types: tuple[FrameType, ...], merge: int, least: int, budget: int
) -> None:
    if len(types) > budget:
        with pytest.raises(ValueError, match='do not fit'):
            sizes_within(raw, types, merge, 14, least, budget)
        return
    sizes, is_below_floor = sizes_within(raw, types, merge, 14, least, budget)
    assert len(sizes) == len(types)
    assert all(side >= 14 * merge and side % (14 * merge) == 0 for size in sizes for side in size)
    assert sum(tokens_of(size, 14 * merge) for size in sizes) <= budget
    if not is_below_floor:
        assert all(tokens_of(size, 14 * merge) >= 1.5 * least for size in sizes)


@given(RAW, MERGE, MIN_TOKENS)
def test_the_floor_is_what_a_frame_gets_of_no_budget_or_of_its_own_area(
    raw: Size, merge: int, least: int
) -> None:
    floor = floor_tokens(raw, merge, 14, least)
    without, own = (
        tokens_of(frame_sizes(raw, (KEY,), merge, 14, least, budget)[0], 14 * merge)
        for budget in (0, 10**9)
    )
    assert 1.5 * least <= floor == min(without, own)


@given(RAW, TYPES, MERGE, MIN_TOKENS, st.integers(16, 16384))
def test_sizes_within_are_the_reference_ones_where_these_fit(
    raw: Size, types: tuple[FrameType, ...], merge: int, least: int, budget: int
) -> None:
    reference = frame_sizes(raw, types, merge, 14, least, budget)
    if sum(tokens_of(size, 14 * merge) for size in reference) <= budget:
        assert sizes_within(raw, types, merge, 14, least, budget) == (reference, False)


def test_sizes_within_stays_close_to_a_budget_that_rounding_exceeds() -> None:
    types = (
        KEY,
        INTERMEDIATE,
        INTERMEDIATE,
        KEY,
        INTERMEDIATE,
        INTERMEDIATE,
        KEY,
        *(INTERMEDIATE,) * 5,
    )
    assert (
        sum(tokens_of(size, 28) for size in frame_sizes((224, 400), types, 2, 14, 16, 640)) == 657
    )
    sizes, is_below_floor = sizes_within((224, 400), types, 2, 14, 16, 640)
    assert 600 <= sum(tokens_of(size, 28) for size in sizes) <= 640 and not is_below_floor


def test_frames_go_below_the_floor_only_when_the_floor_is_too_much() -> None:
    assert sizes_within((480, 640), (KEY,) * 4, 2, 14, 16, 112) == ([(112, 168)] * 4, False)
    sizes, is_below_floor = sizes_within((480, 640), (KEY,) * 4, 2, 14, 16, 60)
    assert is_below_floor and [tokens_of(size, 28) for size in sizes] == [12] * 4


@given(RAW, MERGE, MIN_TOKENS, st.integers(1, 2000), st.integers(1, 2000))
def test_fixed_sizes_keep_to_the_maximum_of_their_type(
    raw: Size, merge: int, least: int, key: int, intermediate: int
) -> None:
    sizes = fixed_sizes(raw, merge, 14, least, {KEY: key, INTERMEDIATE: intermediate})
    for kind, most in ((KEY, key), (INTERMEDIATE, intermediate)):
        assert all(side >= 14 * merge and side % (14 * merge) == 0 for side in sizes[kind])
        assert tokens_of(sizes[kind], 14 * merge) <= most


@given(RAW, MERGE, st.integers(1, 2000))
@example((1, 329), 1, 25)
@example((25 * 7, 1400), 1, 2000)
def test_fixed_sizes_do_not_enlarge_beyond_the_reference(raw: Size, merge: int, most: int) -> None:
    reference = frame_sizes(raw, (KEY,), merge, 14, 16, 10**9)[0]
    assert tokens_of(fixed_sizes(raw, merge, 14, 16, {KEY: most})[KEY], 14 * merge) <= tokens_of(
        reference, 14 * merge
    )


def test_fixed_sizes_of_a_camera_fill_their_maximum_in_its_aspect() -> None:
    sizes = fixed_sizes((1080, 1920), 2, 14, 16, {KEY: 256, INTERMEDIATE: 64})
    assert sizes == {KEY: (336, 588), INTERMEDIATE: (168, 280)}
    assert fixed_sizes((1, 1), 2, 14, 16, {KEY: 256})[KEY] == (112, 112)


@given(RAW, st.integers(1, 600))
def test_size_at_most_keeps_the_aspect_where_it_can(raw: Size, most: int) -> None:
    height, width = size_at_most(raw, 1, most, most)
    assert 1 <= height * width <= most
    if max(raw) <= 2 * min(raw) and most >= 50:
        assert 0.6 <= (height / width) / (raw[0] / raw[1]) <= 1.67
        assert height * width >= 0.75 * most
