# SPDX-License-Identifier: Apache-2.0
"""The image of a recall: the pictures that were found, each with its time, place and words."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, UnidentifiedImageError

from penguin_ros.atomic_file import write_bytes
from penguin_ros.demo.sheet import FAINT, INK, PAPER
from penguin_ros.errors import UnknownEntry
from penguin_ros.memory.entry import Hit
from penguin_ros.memory.store import Store
from penguin_ros.overlay.fonts import drawable, font
from penguin_ros.preprocessing.patches import BICUBIC

COLUMNS, MAX_SHOWN = 4, 12
PICTURE, GAP, MARGIN = (320, 214), 14, 24
HEAD, LINE, TEXT_LINES = 46, 20, 3
BLANK = (226, 226, 222)
CELL_HEIGHT = PICTURE[1] + 8 + LINE * (2 + TEXT_LINES) + GAP


def draw_sheet(
    store: Store, hits: Sequence[Hit], title: str, time_text: Callable[[int], str], path: Path
) -> int:
    """Draws the first MAX_SHOWN hits, those without a picture as text only, to a PNG file; returns
    how many pictures are on it. `time_text` says a stamp in words.
    """
    shown = hits[:MAX_SHOWN]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width = 2 * MARGIN + columns * PICTURE[0] + (columns - 1) * GAP
    sheet = Image.new('RGB', (width, MARGIN + HEAD + rows * CELL_HEIGHT + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    head = f'“{title}”: the first {len(shown)} hits' if title else f'the first {len(shown)} hits'
    draw.text((MARGIN, MARGIN), drawable(head), INK, font=font(22))
    count = 0
    for place, hit in enumerate(shown):
        left = MARGIN + place % columns * (PICTURE[0] + GAP)
        top = MARGIN + HEAD + place // columns * CELL_HEIGHT
        picture = _picture(store, hit)
        sheet.paste(picture or Image.new('RGB', PICTURE, BLANK), (left, top))
        count += picture is not None
        _write(draw, left, top + PICTURE[1] + 8, hit, time_text)
    stream = io.BytesIO()
    sheet.save(stream, 'PNG', optimize=True)
    write_bytes(path, stream.getvalue())
    return count


def _picture(store: Store, hit: Hit) -> Image.Image | None:
    """Returns the picture within PICTURE, on the colour of nothing; None when it is missing."""
    try:
        image = Image.open(io.BytesIO(store.picture(hit.entry))).convert('RGB')
    except (UnknownEntry, UnidentifiedImageError, OSError):
        return None
    scale = min(PICTURE[0] / image.width, PICTURE[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    cell = Image.new('RGB', PICTURE, BLANK)
    left, top = (PICTURE[0] - size[0]) // 2, (PICTURE[1] - size[1]) // 2
    cell.paste(image.resize(size, BICUBIC), (left, top))
    return cell


def _write(
    draw: ImageDraw.ImageDraw, left: int, top: int, hit: Hit, time_text: Callable[[int], str]
) -> None:
    entry, pose = hit.entry, hit.entry.pose
    place = f'{pose.frame} {pose.x:.1f}, {pose.y:.1f}' if pose else 'place unknown'
    draw.text((left, top), drawable(time_text(entry.end_ns)), INK, font=font(16))
    draw.text((left, top + LINE), drawable(f'{place} · {entry.camera}'), FAINT, font=font(14))
    for number, line in enumerate(islice(_lines(draw, entry.text), TEXT_LINES)):
        draw.text((left, top + (2 + number) * LINE), line, INK, font=font(14))


def _lines(draw: ImageDraw.ImageDraw, text: str) -> list[str]:
    lines = ['']
    for word in drawable(text).split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and draw.textlength(longer, font=font(14)) > PICTURE[0]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
