# SPDX-License-Identifier: Apache-2.0
"""Draws an arrangement on pixels. A panel is rendered once for all frames that show the same text;
a frame costs the blending of the rows that are covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from penguin_ros.frame import Image
from penguin_ros.overlay.arrangement import Arrangement, Panel
from penguin_ros.overlay.fonts import font
from penguin_ros.overlay.lines import Tone

Colour = tuple[int, int, int]

COLOURS: dict[Tone, Colour] = {
    Tone.PLAIN: (255, 255, 255),
    Tone.FAINT: (176, 182, 190),
    Tone.WARN: (255, 193, 84),
    Tone.ALARM: (255, 138, 128),
}
BORDER: Colour = (229, 57, 53)
DARKNESS = 0.62
"""How much of the picture a panel takes away, so that white text is read on any of them."""


@dataclass(frozen=True)
class _Rendered:
    """A panel as what is added to the pixels, and how much of those is kept (0..256)."""

    panel: Panel
    added: NDArray[np.uint16]
    kept: NDArray[np.uint16]


class Painter:
    """Draws for one camera; belongs to one thread."""

    def __init__(self) -> None:
        self._arrangement: Arrangement | None = None
        self._rendered: tuple[_Rendered, ...] = ()

    def painted(self, image: Image, arrangement: Arrangement) -> Image:
        """Returns a copy of the image with the overlay; its size is that of the arrangement."""
        if arrangement != self._arrangement:
            self._rendered = tuple(_rendered(panel, arrangement) for panel in arrangement.panels)
            self._arrangement = arrangement
        drawn = np.array(image)
        for each in self._rendered:
            panel = each.panel
            part = drawn[panel.top : panel.bottom, panel.left : panel.right]
            part[...] = (part * each.kept + each.added) >> 8
        if arrangement.is_alarm:
            _draw_border(drawn, arrangement.border)
        return drawn


def _rendered(panel: Panel, arrangement: Arrangement) -> _Rendered:
    size = panel.right - panel.left, panel.bottom - panel.top
    colours = PillowImage.new('RGB', size)
    letters = PillowImage.new('L', size)
    on_colours, on_letters = ImageDraw.Draw(colours), ImageDraw.Draw(letters)
    used = font(arrangement.text_size, arrangement.font)
    for line in panel.lines:
        left = line.left - panel.left
        # From below the line up: descenders reach a fifth below the baseline.
        top = line.bottom - panel.top - round(arrangement.text_size * 1.2)
        on_letters.text((left, top), line.text, 255, font=used)
        height = round(arrangement.text_size * 1.3)
        on_colours.rectangle((0, top, size[0], top + height), fill=COLOURS[line.tone])
    cover = np.asarray(letters, dtype=np.uint16)[:, :, np.newaxis]
    added = np.asarray(colours, dtype=np.uint16) * cover
    shade = round(256 * (1 - DARKNESS))
    kept = (shade * (255 - cover.astype(np.uint32)) // 255).astype(np.uint16)
    return _Rendered(panel, added, kept)


def _draw_border(drawn: Image, thickness: int) -> None:
    drawn[:thickness] = BORDER
    drawn[-thickness:] = BORDER
    drawn[:, :thickness] = BORDER
    drawn[:, -thickness:] = BORDER
