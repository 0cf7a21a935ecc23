# SPDX-License-Identifier: Apache-2.0
"""Where lines stand: inside the picture, in order, whatever their length and its size."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.overlay.arrangement import TextStyle, arranged
from penguin_ros.overlay.lines import Line, Overlay, Tone

LONG = 'A red box stands left of a green ball while a blue cone moves slowly to the right. ' * 6
texts = st.text(st.characters(blacklist_categories=('Cs', 'Cc')), max_size=300)


def overlay(caption: str, *rules: str) -> Overlay:
    lines = tuple(Line(rule, Tone.ALARM) for rule in rules)
    return Overlay(lines, (Line(caption, Tone.PLAIN),))


@settings(max_examples=40, deadline=None)
@given(texts, st.lists(texts, max_size=3), st.integers(1, 700), st.integers(1, 500))
def test_every_line_stands_inside_its_panel_and_every_panel_inside_the_picture(
    caption: str, rules: list[str], width: int, height: int
) -> None:
    arrangement = arranged(overlay(caption, *rules), width, height, TextStyle())
    for panel in arrangement.panels:
        assert 0 <= panel.left < panel.right <= width
        assert 0 <= panel.top < panel.bottom <= height
        bottoms = [line.bottom for line in panel.lines]
        assert bottoms == sorted(set(bottoms))
        assert panel.top < bottoms[0] and bottoms[-1] <= panel.bottom


def test_a_long_caption_is_broken_between_words_and_ends_with_an_ellipsis() -> None:
    arrangement = arranged(overlay(LONG), 640, 480, TextStyle())
    lines = [line.text for line in arrangement.panels[-1].lines]
    assert len(lines) == 5
    assert lines[-1].endswith('…')
    assert LONG.startswith(' '.join(lines[:-1]))


def test_rules_stand_above_and_the_caption_at_the_bottom() -> None:
    above, below = arranged(overlay('A dog.', 'door'), 640, 480, TextStyle()).panels
    assert (above.top, below.bottom) == (0, 480)
    assert above.bottom < below.top
    assert (below.left, below.right) == (0, 640)
