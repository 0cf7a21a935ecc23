# SPDX-License-Identifier: Apache-2.0
"""Writes captions as SubRip (.srt). Knows the format only."""
from __future__ import annotations

from typing import TextIO


class SubRipWriter:
    """Writes one numbered cue per caption to `stream`; times in nanoseconds from the start of the recording."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._cues = stream, 0

    def write(self, start_ns: int, end_ns: int, text: str) -> None:
        """A blank line ends a cue in this format, so blank lines inside `text` are left out."""
        self._cues += 1
        lines = '\n'.join(line for line in text.splitlines() if line.strip()) or '…'
        self._stream.write(f'{self._cues}\n{timestamp(start_ns)} --> {timestamp(end_ns)}\n{lines}\n\n')
        self._stream.flush()


def timestamp(time_ns: int) -> str:
    """HH:MM:SS,mmm, rounded to the millisecond."""
    milliseconds = max(0, (time_ns + 500_000) // 1_000_000)
    seconds, rest = divmod(milliseconds, 1000)
    return f'{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}'
