# SPDX-License-Identifier: Apache-2.0
"""The clips of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.simulation.clips import HELD_OUT, make_clip
from penguin_ros.simulation.language import facts, parse_caption
from penguin_ros.simulation.world import World


@pytest.mark.parametrize('level', [1, 2, 3])
def test_a_clip_is_the_same_again_by_its_seed(world: World, level: int) -> None:
    first, other = make_clip(world, 11, level), make_clip(world, 12, level)
    again = make_clip(world, 11, level)
    assert (first.frames == again.frames).all() and (first.segments == again.segments).all()
    assert (first.caption, first.questions, first.truth) == (
        again.caption,
        again.questions,
        again.truth,
    )
    assert (first.frames != other.frames).any()


def test_shapes_and_times(world: World) -> None:
    clip = make_clip(world, 3, 3, frames=5, fps=2.0, max_questions=4)
    assert clip.frames.shape == (5, 112, 168, 3) and clip.frames.dtype == np.uint8
    assert clip.segments.shape == (5, 112, 168) and clip.segments.dtype == np.int32
    assert clip.stamps.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0] and (
        clip.truth.start_s,
        clip.truth.end_s,
    ) == (0.0, 2.0)
    assert len(clip.questions) == 4 and parse_caption(clip.caption) == facts(clip.truth)


def test_one_frame_shows_things_at_rest(world: World) -> None:
    clip = make_clip(world, 5, 3, frames=1)
    assert clip.frames.shape[0] == 1 and {sight.motion for sight in clip.truth.sights} == {'still'}


def test_held_out_seeds_are_many_and_far_from_small_ones() -> None:
    assert len(HELD_OUT) >= 10_000 and HELD_OUT.start > 100_000_000
