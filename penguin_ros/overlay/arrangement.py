# SPDX-License-Identifier: Apache-2.0
"""Where each line of an overlay stands in a picture of a given size, in pixels from its upper left
corner. Lines that are too long are broken between words, else between characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw

from penguin_ros.overlay.fonts import drawable, font
from penguin_ros.overlay.lines import Line, Overlay, Tone

LEAST_SIZE = 9
LINE_HEIGHT = 1.3
PADDING = 0.4
MOST_RULE_LINES, MOST_CAPTION_LINES = 8, 5
MOST_SHARE = 0.45
"""Of the picture's height, at most so much is covered above and below, each."""


@dataclass(frozen=True)
class TextStyle:
    """`size` is the height of letters as a share of the picture's; `font` a TrueType file, or ''
    for one that every machine has.
    """

    size: float = 0.045
    font: str = ''


@dataclass(frozen=True)
class PlacedLine:
    """One line, by the left end of its lower edge."""

    text: str
    tone: Tone
    left: int
    bottom: int


@dataclass(frozen=True)
class Panel:
    """A darkened rectangle with the lines on it; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int
    lines: tuple[PlacedLine, ...]


@dataclass(frozen=True)
class Arrangement:
    """An overlay in a picture of `width` times `height`; `text_size` is in pixels."""

    width: int
    height: int
    text_size: int
    panels: tuple[Panel, ...]
    is_alarm: bool
    font: str = ''

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def border(self) -> int:
        """How thick the border of a picture with an alarm is."""
        return max(2, self.height // 120)


def arranged(overlay: Overlay, width: int, height: int, style: TextStyle) -> Arrangement:
    """Returns where everything stands; what does not fit ends with an ellipsis."""
    size = max(LEAST_SIZE, round(height * style.size))
    line_height, padding = max(1, round(size * LINE_HEIGHT)), round(size * PADDING)
    fitting = int((height * MOST_SHARE - 2 * padding) // line_height)
    width_of = _measure(size, style.font)
    panels = []
    for lines, most, is_above in (
        (overlay.rules, MOST_RULE_LINES, True),
        (overlay.caption, MOST_CAPTION_LINES, False),
    ):
        broken = _broken(lines, width - 2 * padding, min(fitting, most), width_of, style)
        if not broken:
            continue
        tall = len(broken) * line_height + 2 * padding
        top = 0 if is_above else height - tall
        wide = max(width_of(line.text) for line in broken)
        right = min(width, round(wide) + 2 * padding) if is_above else width
        placed = tuple(
            PlacedLine(line.text, line.tone, padding, top + padding + number * line_height)
            for number, line in enumerate(broken, 1)
        )
        panels.append(Panel(0, top, right, top + tall, placed))
    return Arrangement(width, height, size, tuple(panels), overlay.is_alarm, style.font)


def _measure(size: int, path: str) -> Callable[[str], float]:
    draw = ImageDraw.Draw(Image.new('L', (1, 1)))
    used = font(size, path)
    return lambda text: draw.textlength(text, font=used)


def _broken(
    lines: tuple[Line, ...],
    width: int,
    most: int,
    width_of: Callable[[str], float],
    style: TextStyle,
) -> list[Line]:
    """Returns the lines in pieces of at most `width`, at most `most` of them."""
    if most < 1 or width < 1:
        return []
    pieces: list[Line] = []
    for line in lines:
        for text in _pieces(drawable(line.text, style.font), width, width_of):
            if len(pieces) == most:
                pieces[-1] = Line(_shortened(pieces[-1].text, width, width_of), pieces[-1].tone)
                return pieces
            pieces.append(Line(text, line.tone))
    return pieces


def _pieces(text: str, width: int, width_of: Callable[[str], float]) -> Iterator[str]:
    line = ''
    for word in text.split():
        longer = f'{line} {word}' if line else word
        if width_of(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *whole, line = _cut(word, width, width_of)
        yield from whole
    if line:
        yield line


def _cut(word: str, width: int, width_of: Callable[[str], float]) -> list[str]:
    """Returns a word in pieces that fit, one character each at least."""
    pieces = ['']
    for character in word:
        if pieces[-1] and width_of(pieces[-1] + character) > width:
            pieces.append('')
        pieces[-1] += character
    return pieces


def _shortened(text: str, width: int, width_of: Callable[[str], float]) -> str:
    ellipsis = drawable('…')
    while text and width_of(text + ellipsis) > width:
        text = text[:-1]
    return text.rstrip() + ellipsis
