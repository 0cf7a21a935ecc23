# SPDX-License-Identifier: Apache-2.0
"""The sliding window: the newest frames of the grid, of one size, the same ones again and again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.frame import Frame
from penguin_ros.window.policies import TypedFrame, slid

IMAGE, LARGER = np.zeros((1, 1, 3), np.uint8), np.zeros((2, 1, 3), np.uint8)


@given(
    st.lists(st.sampled_from([500, 480, 1000, 2500]), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(1, 9000),
)
def test_it_holds_the_newest_frames_within_its_span_and_loses_only_the_oldest(
    gaps: list[int], most: int, span_ns: int
) -> None:
    window: tuple[TypedFrame, ...] = ()
    stamps: list[int] = []
    for gap in gaps:
        stamps.append((stamps[-1] if stamps else 0) + gap)
        before, window = window, slid(window, Frame(stamps[-1], IMAGE), most, span_ns)
        assert [frame.stamp_ns for frame in window] == [
            ns for ns in stamps if ns > stamps[-1] - span_ns
        ][-most:]
        assert window[:-1] == before[len(before) - len(window) + 1 :], 'the very same frames'


def test_frames_of_another_size_begin_a_window_of_their_own() -> None:
    window = slid(slid((), Frame(0, IMAGE), 8, 4000), Frame(500, LARGER), 8, 4000)
    assert [frame.stamp_ns for frame in window] == [500]
