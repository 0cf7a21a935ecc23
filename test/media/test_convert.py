# SPDX-License-Identifier: Apache-2.0
"""Images are reduced to a number of pixels before they are kept; conversions are tested in
test_raw.py and test_compressed.py.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.media.convert import reduced


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 2000))
def test_a_reduced_image_has_at_most_the_pixels_allowed(height, width, max_pixels):
    small = reduced(np.full((height, width, 3), 77, np.uint8), max_pixels)
    assert (
        1 <= small.shape[0] * small.shape[1] <= max_pixels
        and small.shape[2] == 3
        and (small == 77).all()
    )
    assert height * width > max_pixels or small.shape == (height, width, 3)


def test_reduction_keeps_proportions_and_averages():
    stripes = np.zeros((400, 800, 3), np.uint8)
    stripes[:, 1::2] = 200
    small = reduced(stripes, 200 * 400)
    assert small.shape == (200, 400, 3) and (small == 100).all()
