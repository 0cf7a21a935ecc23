# SPDX-License-Identifier: Apache-2.0
"""What is drawn on pixels."""

from __future__ import annotations

import numpy as np

from penguin_ros.overlay.arrangement import TextStyle, arranged
from penguin_ros.overlay.lines import Line, Overlay, Tone
from penguin_ros.overlay.painter import BORDER, COLOURS, Painter

WHITE = np.full((240, 320, 3), 255, np.uint8)
CALM = Overlay(caption=(Line('A dog walks by.', Tone.PLAIN),))
ALARM = Overlay(rules=(Line('intruder', Tone.ALARM),), caption=CALM.caption)


def painted(overlay: Overlay) -> np.ndarray:  # type: ignore[type-arg]
    return Painter().painted(WHITE, arranged(overlay, 320, 240, TextStyle()))


def test_a_caption_darkens_the_bottom_and_leaves_all_else_as_it_was() -> None:
    drawn = painted(CALM)
    (panel,) = arranged(CALM, 320, 240, TextStyle()).panels
    assert (drawn[: panel.top] == 255).all()
    below = drawn[panel.top :]
    assert below[0].max() < 120  # dark enough for white letters on a white picture
    assert below.max() > 250  # the letters
    assert (WHITE == 255).all()  # the frame itself is not touched


def test_an_alarm_has_a_border_and_its_name_in_its_colour() -> None:
    drawn = painted(ALARM)
    for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert (edge == BORDER).all()
    name = drawn[3:30, 3:120].reshape(-1, 3).astype(int)
    assert np.abs(name - COLOURS[Tone.ALARM]).sum(1).min() < 12


def test_nothing_to_say_leaves_the_picture_as_it_is() -> None:
    assert (painted(Overlay()) == WHITE).all()


def test_one_painter_draws_what_is_new_and_keeps_what_is_not() -> None:
    painter = Painter()
    first = painter.painted(WHITE, arranged(CALM, 320, 240, TextStyle()))
    again = painter.painted(WHITE, arranged(CALM, 320, 240, TextStyle()))
    other = painter.painted(WHITE, arranged(ALARM, 320, 240, TextStyle()))
    assert (first == again).all()
    assert (first != other).any()
