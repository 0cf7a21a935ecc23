# SPDX-License-Identifier: Apache-2.0
"""Makes text safe to show: removes control characters and marks that override the direction of
writing.

A terminal, a log or a message could choke on NUL and the other control characters of C0 and C1
(newline and tab stay), and on the marks U+202A to U+202E and U+2066 to U+2069.
"""

from __future__ import annotations

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord('\n'), ord('\t')}
_BIDI_OVERRIDES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_REMOVED = dict.fromkeys(_CONTROLS | _BIDI_OVERRIDES)


def without_controls(text: str) -> str:
    """Returns `text` without the characters that are not safe to show; see the top of the file."""
    return text.translate(_REMOVED)


def counted(count: int, thing: str) -> str:
    """Returns a number of things in words: `1 frame`, `2 frames`; `thing` is one of them."""
    return f'{count} {thing}' if count == 1 else f'{count} {thing}s'


def cleaned(text: str) -> str:
    """Returns `text` without the characters that are not safe to show. Surrogates that pair up
    become their character, lone ones U+FFFD.
    """
    return without_controls(text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace'))
