# SPDX-License-Identifier: Apache-2.0
"""Reads the `format` text of sensor_msgs/CompressedImage, the only place that says what the samples
of a compressed picture mean.

image_transport writes the encoding of the raw picture, a semicolon, and how it was stored:
"bayer_rggb8; jpeg compressed mono8". Other publishers write "jpeg" alone, which says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STORED = re.compile(r'compressed\s*(\S*)')
_ENCODING = re.compile(r'(rgb|bgr|mono|bayer_|yuv|nv|uyvy|yuyv|\d+[usf]c\d)', re.ASCII)


@dataclass(frozen=True)
class FormatText:
    """What the text says, in lower case.

    `original`: the encoding of the raw picture, '' when unknown; `stored`: the one that the stored
    samples were converted to before, '' when they were not, or unknown.
    """

    original: str = ''
    stored: str = ''

    @property
    def is_depth(self) -> bool:
        """True for the messages of image_transport's compressedDepth."""
        return self.stored == 'depth'

    @property
    def bayer_pattern(self) -> str:
        """The pattern, 'rggb' for example, when the stored samples are still a Bayer mosaic."""
        is_mosaic = self.original.startswith('bayer_') and (
            not self.stored or self.stored.startswith('bayer_')
        )
        return self.original[6:10] if is_mosaic else ''

    @property
    def is_stored_rgb(self) -> bool:
        """True when the text says that colours were stored in the order red, green, blue.

        Those of a JPEG or PNG lie in an order of its own. What image_transport reads is a file
        whose red and blue were exchanged when it was written; what others write so is mostly right.
        """
        return self.original.startswith(('rgb', 'bgr')) and self.stored.startswith('rgb')


def read_format(label: str) -> FormatText:
    """Returns what the text says."""
    text = label.strip().lower()
    original, semicolon, rest = (part.strip() for part in text.partition(';'))
    if 'compresseddepth' in text.replace(' ', ''):
        return FormatText(original if semicolon else '', 'depth')
    if not _ENCODING.match(original):
        return FormatText()
    stored = _STORED.search(rest)
    return FormatText(original, stored[1] if stored else '')
