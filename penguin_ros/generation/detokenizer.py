# SPDX-License-Identifier: Apache-2.0
"""Turns token ids into text piece by piece. Knows bytes and characters, not the tokenizer that
gives the bytes.

One character may be spread over several tokens of a byte-level vocabulary. A piece holds whole
characters only; bytes that are no UTF-8 come out as U+FFFD, as in `bytes.decode('utf-8',
'replace')`. What a terminal, a log or a message could choke on never comes out: NUL and the other
control characters of C0 and C1 (newline and tab stay), and the marks that override the direction of
writing (U+202A to U+202E, U+2066 to U+2069). Lone surrogates cannot come out: their bytes are no
UTF-8.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from penguin_ros.text import without_controls


class Detokenizer:
    """The text of one request; `token_bytes` gives the UTF-8 bytes of a token, none for markup."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')

    def push(self, token_id: int) -> str:
        """What `token_id` completes: maybe nothing, maybe several characters."""
        return without_controls(self._decoder.decode(self._token_bytes(token_id)))

    def finish(self) -> str:
        """The rest at the end of the text: U+FFFD for a character that was never completed."""
        return without_controls(self._decoder.decode(b'', final=True))
