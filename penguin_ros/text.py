# SPDX-License-Identifier: Apache-2.0
"""Text that is safe to show: no control characters, nothing that turns the direction of writing.

NUL and the other control characters of C0 and C1 are removed (newline and tab stay), and so are the
marks that override the direction of writing (U+202A to U+202E, U+2066 to U+2069): a terminal, a log
or a message could choke on them.
"""

from __future__ import annotations

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord('\n'), ord('\t')}


_BIDI_OVERRIDES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


_REMOVED = dict.fromkeys(_CONTROLS | _BIDI_OVERRIDES)


def without_controls(text: str) -> str:
    """`text` without the characters that never come out; see the top of the file."""
    return text.translate(_REMOVED)


def cleaned(text: str) -> str:
    """`text` without control characters (newline and tab stay) and without marks that override the
    direction of writing.

    Surrogates that pair up become their character, lone ones U+FFFD.
    """
    return without_controls(text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace'))
