# SPDX-License-Identifier: Apache-2.0
"""The image of a fleet: dots where captions came, in the colour of who made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from penguin_ros.demo.fleet_picture import (
    DOWN,
    LABELS,
    LANE,
    OWN,
    SERVED,
    TOP,
    CaptionMoment,
    FleetRun,
    write_fleet_picture,
)

RUN = FleetRun(
    {
        'robot1': [CaptionMoment(0.0, True), CaptionMoment(5.0, False), CaptionMoment(10.0, True)],
        'robot2': [CaptionMoment(1.0, True), CaptionMoment(9.0, True)],
    },
    killed_s=4.0,
    back_s=8.0,
)


def columns(pixels: np.ndarray, colour: tuple[int, int, int], lane: int) -> np.ndarray:
    """Returns where a colour stands in a robot's lane, pixels from the left of it."""
    rows = pixels[TOP + lane * LANE + 20 : TOP + (lane + 1) * LANE + 10, LABELS:]
    return np.flatnonzero((rows == colour).all(axis=2).any(axis=0))


def test_captions_stand_at_their_time_in_the_colour_of_who_made_them(tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(write_fleet_picture(RUN, tmp_path / 'fleet.png')))
    down, own = columns(pixels, DOWN, 0), columns(pixels, OWN, 0)
    assert own.size and down.min() < own.min() and own.max() < down.max()
    served = columns(pixels, SERVED, 0)
    assert served.min() < down.min() and served.max() > down.max()
    assert not columns(pixels, OWN, 1).size and columns(pixels, SERVED, 1).size


def test_a_run_that_ended_early_is_drawn_too(tmp_path: Path) -> None:
    early = FleetRun({'robot1': [], 'robot2': []}, killed_s=None, back_s=None)
    pixels = np.asarray(Image.open(write_fleet_picture(early, tmp_path / 'fleet.png')))
    assert not (pixels == DOWN).all(axis=2).any()
