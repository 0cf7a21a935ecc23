# SPDX-License-Identifier: Apache-2.0
"""The image that the demo of a fleet leaves: when each robot's captions came and who made them,
while the server ran, was killed and came back. Sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from penguin_ros.overlay.fonts import drawable, font

WIDTH, MARGIN, LABELS = 1100, 24, 110
LANE, DOT = 64, 6
TOP = 96
INK, FAINT, PAPER = (30, 34, 40), (110, 116, 126), (250, 250, 248)
SERVED, OWN, DOWN = (31, 122, 61), (176, 112, 0), (244, 220, 218)
TICKS_S = (1, 2, 5, 10, 20, 60)
MOST_TICKS = 12


@dataclass(frozen=True)
class CaptionMoment:
    """When a caption came, seconds from the beginning, and whether the server made it."""

    at_s: float
    is_served: bool


@dataclass(frozen=True)
class FleetRun:
    """What came: the captions of each robot by its name, when the server was killed, and when it
    was ready again (None: that was not shown), all in seconds from the first caption on.
    """

    captions: Mapping[str, Sequence[CaptionMoment]]
    killed_s: float | None
    back_s: float | None

    @property
    def end_s(self) -> float:
        """When the last caption came."""
        return max((each.at_s for some in self.captions.values() for each in some), default=0.0)


def write_fleet_picture(run: FleetRun, path: Path) -> Path:
    """Writes the image; OSError where that fails."""
    height = TOP + LANE * len(run.captions) + 60
    image = Image.new('RGB', (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(image)
    _write(draw, MARGIN, 20, 'Captions of two robots and one served engine', 22)
    draw.ellipse(_dot(MARGIN + 8, 66), fill=SERVED)
    _write(draw, MARGIN + 22, 57, 'made by the server')
    draw.ellipse(_dot(MARGIN + 208, 66), outline=OWN, width=3)
    _write(draw, MARGIN + 222, 57, "made by the robot's own model")
    _draw_time(draw, run, height)
    for lane, (name, captions) in enumerate(run.captions.items()):
        middle = TOP + LANE * lane + LANE // 2 + 12
        _write(draw, MARGIN, middle - 10, name)
        draw.line((LABELS, middle, WIDTH - MARGIN, middle), fill=FAINT)
        for each in captions:
            dot = _dot(_across(run, each.at_s), middle)
            if each.is_served:
                draw.ellipse(dot, fill=SERVED)
            else:
                draw.ellipse(dot, fill=PAPER, outline=OWN, width=3)
    image.save(path)
    return path.resolve()


def _draw_time(draw: ImageDraw.ImageDraw, run: FleetRun, height: int) -> None:
    """Draws when the server was down, and an axis in seconds."""
    bottom = height - 44
    if run.killed_s is not None:
        left = _across(run, run.killed_s)
        right = _across(run, run.back_s if run.back_s is not None else run.end_s)
        draw.rectangle((left, TOP, right, bottom), fill=DOWN)
        _write(draw, left + 4, TOP, 'server killed')
        if run.back_s is not None:
            _write(draw, right + 4, TOP, 'ready again')
    step = next((each for each in TICKS_S if run.end_s / each <= MOST_TICKS), TICKS_S[-1])
    for second in range(0, int(run.end_s) + 1, step):
        across = _across(run, second)
        draw.line((across, bottom, across, bottom + 6), fill=FAINT)
        _write(draw, across - 8, bottom + 10, f'{second} s', 15, FAINT)


def _across(run: FleetRun, at_s: float) -> float:
    width = WIDTH - MARGIN - DOT - LABELS - 10
    return LABELS + 10 + width * min(1.0, at_s / max(run.end_s, 1e-3))


def _dot(across: float, middle: float) -> tuple[float, float, float, float]:
    return (across - DOT, middle - DOT, across + DOT, middle + DOT)


def _write(
    draw: ImageDraw.ImageDraw,
    left: float,
    top: float,
    text: str,
    size: int = 17,
    colour: tuple[int, int, int] = INK,
) -> None:
    draw.text((left, top), drawable(text), colour, font(size))
