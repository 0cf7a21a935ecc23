# SPDX-License-Identifier: Apache-2.0
"""Texts that end an answer before them. What may be the beginning of one is held back until it is
clear, so that no piece of it is ever shown.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopTexts:
    """Watches one text as it grows; `is_found` once one of `texts` has come."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._held = ''
        self.is_found = False

    def push(self, piece: str, is_last: bool) -> str:
        """Returns what may be shown now that `piece` has come; everything that was held back when
        it `is_last`.
        """
        text = self._held + piece
        places = [text.find(each) for each in self._texts if each in text]
        if places:
            self.is_found = True
            self._held = ''
            return text[: min(places)]
        kept = 0 if is_last else max((_begun(text, each) for each in self._texts), default=0)
        shown = len(text) - kept
        self._held = text[shown:]
        return text[:shown]


def _begun(text: str, stop: str) -> int:
    """Returns how many characters at the end of `text` may be the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
