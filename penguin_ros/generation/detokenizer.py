# SPDX-License-Identifier: Apache-2.0
"""Turns token ids into text incrementally, piece by piece.

One character may be spread over several tokens of a byte-level vocabulary. A piece holds whole
characters only. Bytes that are not UTF-8 come out as U+FFFD, as in `bytes.decode('utf-8',
'replace')`; so a lone surrogate cannot come out. Control characters and marks that override the
direction of writing are removed (see penguin_ros/text.py), and so is white space before the first
word.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from penguin_ros.text import without_controls


class Detokenizer:
    """Decodes the tokens of one text; `token_bytes` gives the UTF-8 bytes of a token, none for
    markup.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self._has_begun = False

    def push(self, token_id: int) -> str:
        """Returns the text that `token_id` completes, maybe none, maybe several characters."""
        return self._begun(without_controls(self._decoder.decode(self._token_bytes(token_id))))

    def finish(self) -> str:
        """Returns the rest at the end of the text: U+FFFD for an incomplete character, else
        nothing.
        """
        return self._begun(without_controls(self._decoder.decode(b'', final=True)))

    def _begun(self, piece: str) -> str:
        """Returns the piece without the white space that the whole text begins with: the first
        word's token has a space before it.
        """
        if not self._has_begun:
            piece = piece.lstrip()
            self._has_begun = bool(piece)
        return piece
