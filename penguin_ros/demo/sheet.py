# SPDX-License-Identifier: Apache-2.0
"""The image that a demo leaves: the first scenes as the node saw them, each with its caption, its
facts and the truth. It is drawn with Pillow; sizes are in pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw

from penguin_ros.atomic_file import write_bytes
from penguin_ros.demo.row import ShownCaption, claim_texts
from penguin_ros.errors import PenguinError
from penguin_ros.frame_sampling import evenly
from penguin_ros.overlay.fonts import drawable, font
from penguin_ros.preprocessing.patches import BICUBIC

SCENES, FRAMES = 6, 4
FRAME_SIZE = (288, 192)
GAP, MARGIN, LINE = 8, 24, 24
INDENT, MAX_LINES = 52, 3
INK, FAINT, PAPER = (30, 34, 40), (110, 116, 126), (250, 250, 248)
GREEN, RED, AMBER = (31, 122, 61), (190, 38, 38), (176, 112, 0)
WIDTH = 2 * MARGIN + FRAMES * FRAME_SIZE[0] + (FRAMES - 1) * GAP


@dataclass(frozen=True)
class Sheet:
    """What is drawn: the first `scenes` captions in the order of their scenes, JPEG data by stamp,
    a line above, and labelled texts below.
    """

    title: str
    captions: Sequence[ShownCaption]
    images: Mapping[int, bytes]
    footer: Sequence[tuple[str, str]]
    scenes: int = SCENES


def write_sheet(sheet: Sheet, path: Path) -> Path:
    """Writes the image of the first `scenes` captions, none left out for being wrong; PenguinError
    where that fails.
    """
    captions = sheet.captions[: sheet.scenes]
    heights = [_Page(WIDTH, 1).draw_scene(0, caption, sheet.images) for caption in captions]
    below = sum(_Page(WIDTH, 1).paragraph(0, label, text, INK) for label, text in sheet.footer)
    page = _Page(WIDTH, MARGIN + 44 + sum(heights) + below + MARGIN)
    page.write(MARGIN, MARGIN, sheet.title, 22, INK)
    top = MARGIN + 44
    for caption, height in zip(captions, heights, strict=True):
        page.draw_scene(top, caption, sheet.images)
        top += height
    for label, text in sheet.footer:
        top += page.paragraph(top, label, text, INK)
    drawn = io.BytesIO()
    try:
        page.image.save(drawn, Image.registered_extensions()[path.suffix.lower()])
        write_bytes(path, drawn.getvalue())
    except KeyError as error:
        raise PenguinError(
            f'cannot write {path}',
            'its ending says what it is',
            'Give another place with --picture FILE, FILE ending in .png',
        ) from error
    except (OSError, ValueError) as error:
        raise PenguinError(
            f'cannot write {path}', str(error), 'Give another place with --picture FILE'
        ) from error
    return path.resolve()


class _Page:
    """An image that is drawn on from the top; the drawing methods return the height that they
    took.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new('RGB', (width, height), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def draw_scene(self, top: int, caption: ShownCaption, images: Mapping[int, bytes]) -> int:
        """Draws frames, caption, one chip per fact, and truth."""
        chosen = evenly(len(caption.stamps_ns), FRAMES)
        for place, stamp_ns in enumerate(caption.stamps_ns[index] for index in chosen):
            left = MARGIN + place * (FRAME_SIZE[0] + GAP)
            if stamp_ns in images:
                frame = (
                    Image.open(io.BytesIO(images[stamp_ns]))
                    .convert('RGB')
                    .resize(FRAME_SIZE, BICUBIC)
                )
                self.image.paste(frame, (left, top))
            self._chip(
                left + 6,
                top + FRAME_SIZE[1] - 26,
                f'{(stamp_ns - caption.stamps_ns[0]) / 1e9:.1f} s',
                INK,
            )
        y = top + FRAME_SIZE[1] + GAP
        y += self.paragraph(y, 'said', caption.text, INK)
        y += self._chips(y, caption)
        y += self.paragraph(y, 'true', caption.true_text, FAINT)
        self._draw.line((MARGIN, y + 8, WIDTH - MARGIN, y + 8), (220, 220, 216))
        return y + 20 - top

    def write(
        self, left: int, top: int, text: str, size: int, colour: tuple[int, int, int]
    ) -> None:
        """Writes one line."""
        self._draw.text((left, top), drawable(text), colour, font=font(size))

    def paragraph(self, top: int, label: str, text: str, colour: tuple[int, int, int]) -> int:
        """Writes a text of some lines beside its label."""
        self.write(MARGIN, top + 2, label, 14, FAINT)
        lines = list(islice(self._lines(text, WIDTH - 2 * MARGIN - INDENT), MAX_LINES + 1))
        if len(lines) > MAX_LINES:
            lines = [*lines[: MAX_LINES - 1], f'{lines[MAX_LINES - 1]} …']
        for number, line in enumerate(lines):
            self.write(MARGIN + INDENT, top + number * LINE, line, 17, colour)
        return LINE * max(1, len(lines)) + 2

    def _lines(self, text: str, width: int) -> Iterable[str]:
        line = ''
        for word in drawable(text).split():
            longer = f'{line} {word}'.strip()
            if line and self._draw.textlength(longer, font=font(17)) > width:
                yield line
                line = word
            else:
                line = longer
        if line:
            yield line

    def _chips(self, top: int, caption: ShownCaption) -> int:
        """Draws a chip per fact. Green: told and true; red: told and false; amber: true and not
        told.
        """
        chips = [
            (text, colour)
            for colour, claims, mark in (
                (GREEN, caption.right, ''),
                (RED, caption.wrong, 'wrong: '),
                (AMBER, caption.missed, 'missed: '),
            )
            for text in (mark + text for text in claim_texts(claims))
        ]
        left, y = MARGIN + INDENT, top
        for text, colour in chips:
            width = self._chip_width(text)
            if left + width > WIDTH - MARGIN:
                left, y = MARGIN + INDENT, y + 28
            self._chip(left, y, text, colour)
            left += width + 6
        return y + 30 - top

    def _chip(self, left: int, top: int, text: str, colour: tuple[int, int, int]) -> None:
        self._draw.rounded_rectangle(
            (left, top, left + self._chip_width(text), top + 22), 6, colour
        )
        self._draw.text((left + 7, top + 11), text, (255, 255, 255), font=font(14), anchor='lm')

    def _chip_width(self, text: str) -> int:
        return round(self._draw.textlength(text, font=font(14))) + 14
