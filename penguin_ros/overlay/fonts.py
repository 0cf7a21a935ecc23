# SPDX-License-Identifier: Apache-2.0
"""Fonts that every machine has, for what is drawn with Pillow."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import ImageFont

USUAL_SIGNS = str.maketrans({'“': '"', '”': '"', '’': "'", '–': '-', '…': '...'})


@lru_cache(maxsize=64)
def font(size: int, path: str = '') -> Any:
    """Returns a font, `size` in pixels: that of the file `path`, else one that is always there."""
    if path:
        return ImageFont.truetype(path, size)
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one small font, with Latin letters only
        pass
    try:
        return ImageFont.truetype('DejaVuSans.ttf', size)
    except OSError:
        return ImageFont.load_default()


def drawable(text: str, path: str = '') -> str:
    """Returns the text in characters that the font has."""
    if isinstance(font(17, path), ImageFont.FreeTypeFont):
        return text
    return text.translate(USUAL_SIGNS).encode('latin-1', 'replace').decode('latin-1')
