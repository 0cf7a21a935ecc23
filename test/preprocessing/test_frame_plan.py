# SPDX-License-Identifier: Apache-2.0
"""Both policies: the budget is kept, the newest frame stays, what is left out follows the stated
rule.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.frame_plans import video_plan

from penguin_ros.config import VisualConfig
from penguin_ros.frame import FrameType, Image
from penguin_ros.preprocessing.frame_plan import (
    FramePlan,
    PatchUnit,
    exact_image_plan,
    exact_video_plan,
    image_plan,
)
from penguin_ros.preprocessing.frame_sizes import frame_sizes, tokens_of
from penguin_ros.preprocessing.frame_types import frame_types

KEY, INTERMEDIATE = FrameType.KEY, FrameType.INTERMEDIATE
VIDEO, IMAGE = PatchUnit(2, 14), PatchUnit(1, 14)
REFERENCE, FIXED = VisualConfig(policy='reference'), VisualConfig(policy='fixed')

VISUAL = st.builds(
    VisualConfig,
    policy=st.sampled_from(('reference', 'fixed')),
    max_visual_tokens=st.integers(16, 1500),
    min_visual_tokens=st.integers(1, 200),
    key_tokens=st.integers(1, 600),
    intermediate_tokens=st.integers(1, 600),
)


def _clip(pattern: str, height: int = 120, width: int = 160) -> list[Image]:
    """A frame per letter; other letters are other scenes."""
    colors = {'w': (255, 255, 255), 'b': (0, 0, 60), 'r': (255, 0, 0), 'g': (0, 255, 0)}
    return [np.full((height, width, 3), colors[letter], np.uint8) for letter in pattern]


def _tokens(plan: FramePlan, unit: PatchUnit = VIDEO) -> int:
    return sum(tokens_of(size, unit.factor) for size in plan.sizes)


@settings(deadline=None, max_examples=150)
@given(st.text('wbrg', min_size=1, max_size=30), st.integers(1, 400), st.integers(1, 400), VISUAL)
def test_a_video_keeps_the_budget_and_its_newest_frame(
    pattern: str, height: int, width: int, visual: VisualConfig
) -> None:
    plan = video_plan(_clip(pattern, height, width), VIDEO, visual)
    assert 1 <= _tokens(plan) <= visual.max_visual_tokens
    assert plan.indices[-1] == len(pattern) - 1 and list(plan.indices) == sorted(set(plan.indices))
    assert len(plan.indices) == len(plan.types) == len(plan.sizes)
    assert plan.is_truncated or len(plan.indices) == len(pattern)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 16), st.integers(1, 3000), st.integers(1, 3000), VISUAL)
def test_images_keep_the_budget_together(
    count: int, height: int, width: int, visual: VisualConfig
) -> None:
    plan = image_plan(np.zeros((height, width, 3), np.uint8), count, IMAGE, visual)
    assert plan.indices == (0,) and plan.types == (KEY,)
    assert 1 <= _tokens(plan, IMAGE) * count <= visual.max_visual_tokens


@settings(deadline=None, max_examples=60)
@given(st.text('wb', min_size=1, max_size=12), st.text('wb', min_size=1, max_size=12))
def test_fixed_size_depends_on_the_own_type_only(one: str, other: str) -> None:
    visual = replace(FIXED, key_tokens=20, intermediate_tokens=6)
    sizes = [
        {*zip(plan.types, plan.sizes, strict=True)}
        for plan in (video_plan(_clip(pattern), VIDEO, visual) for pattern in (one, other))
    ]
    assert len(dict(sizes[0] | sizes[1])) == len(sizes[0] | sizes[1])


def test_reference_policy_is_the_reference_where_that_fits() -> None:
    frames = _clip('wwbbwr', 480, 640)
    plan = video_plan(frames, VIDEO, REFERENCE)
    assert plan.types == frame_types(frames) and not plan.is_truncated
    assert list(plan.sizes) == frame_sizes((480, 640), plan.types, 2, 14, 16, 1024)


def test_reference_policy_thins_evenly_when_the_floor_is_too_much() -> None:
    # The floor of a 3 : 4 frame is 4 x 6 tokens, so 100 tokens take four frames.
    plan = video_plan(
        _clip('wwwwwwbbbb', 480, 640), VIDEO, replace(REFERENCE, max_visual_tokens=100)
    )
    assert plan.indices == (0, 3, 6, 9) and plan.is_truncated
    assert plan.types == (KEY, INTERMEDIATE, KEY, INTERMEDIATE)


def test_types_are_those_of_the_frames_that_remain() -> None:
    # Of w b w b w b w only the scenes at 0, 2, 4, 6 remain, which are one scene.
    plan = video_plan(_clip('wbwbwbw', 480, 640), VIDEO, replace(REFERENCE, max_visual_tokens=100))
    assert plan.indices == (0, 2, 4, 6)
    assert plan.types == (KEY, INTERMEDIATE, INTERMEDIATE, INTERMEDIATE)


def test_a_floor_above_the_budget_is_not_kept_and_said() -> None:
    plan = video_plan(_clip('wb', 480, 640), VIDEO, replace(REFERENCE, max_visual_tokens=16))
    assert plan.indices == (1,) and plan.is_truncated and _tokens(plan) == 15  # 3 x 5
    assert video_plan(
        _clip('b', 480, 640), VIDEO, replace(REFERENCE, max_visual_tokens=16)
    ).is_truncated


def test_fixed_policy_leaves_out_the_oldest_intermediate_frames_first() -> None:
    visual = replace(
        FIXED, key_tokens=12, intermediate_tokens=6, min_visual_tokens=1, max_visual_tokens=30
    )
    plan = video_plan(
        _clip('wwwbb', 480, 640), VIDEO, visual
    )  # keys at 0 and 3: 12 + 6 + 6 + 12 + 6 tokens
    assert plan.indices == (0, 3, 4) and plan.is_truncated
    assert plan.types == (KEY, KEY, INTERMEDIATE)


def test_fixed_policy_then_leaves_out_the_oldest_key_frames_and_never_the_newest() -> None:
    visual = replace(
        FIXED, key_tokens=12, intermediate_tokens=6, min_visual_tokens=1, max_visual_tokens=20
    )
    assert video_plan(_clip('wwwbb', 480, 640), VIDEO, visual).indices == (3, 4)
    assert video_plan(_clip('wbrgw', 480, 640), VIDEO, visual).indices == (4,)


def test_fixed_policy_caps_a_frame_at_the_whole_budget() -> None:
    plan = video_plan(
        _clip('w', 480, 640), VIDEO, replace(FIXED, key_tokens=5000, max_visual_tokens=100)
    )
    assert 70 <= _tokens(plan) <= 100 and not plan.is_truncated


def test_exact_plans_exceed_the_budget_where_the_reference_does() -> None:
    plan = exact_video_plan(_clip('wwwwwwbbbb', 480, 640), VIDEO, 16, 100)
    assert plan.indices == tuple(range(10)) and _tokens(plan) == 240 and not plan.is_truncated


def test_exact_images_share_the_budget_like_frames() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    assert exact_image_plan(image, 3, IMAGE, 16, 900).sizes == (
        frame_sizes((480, 640), (KEY,) * 3, 1, 14, 16, 900)[0],
    )


def test_images_below_the_floor_are_said_to_be_truncated() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    for visual in (REFERENCE, FIXED):
        assert not image_plan(image, 8, IMAGE, visual).is_truncated
        assert image_plan(image, 8, IMAGE, replace(visual, max_visual_tokens=64)).is_truncated
