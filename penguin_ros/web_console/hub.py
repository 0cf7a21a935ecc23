# SPDX-License-Identifier: Apache-2.0
"""What every browser is shown: the newest of each kind, and a time line of what has been said.

`publish` is called on the thread of the loop; others go through `loop.call_soon_threadsafe`. A
browser that comes later gets the newest states and the end of the time line; the rest of it is
there to be searched.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

MAX_ENTRIES = 2000
MAX_BYTES = 16 << 20
MAX_STATES = 512
PAGE = 40
"""So many entries a browser gets at once."""

TIME_LINE = ('caption', 'answer', 'event')
"""Kinds of messages that are entries of the time line; of others the newest counts."""

SEARCHED = ('text', 'question', 'camera', 'rule', 'condition', 'error_message')
"""Fields of an entry that a search looks at."""

Listener = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """One entry of the time line: its number, what a search looks at, and the whole message."""

    number: int
    kind: str
    words: str
    text: str


class Hub:
    """Keeps at most `MAX_ENTRIES` entries of `MAX_BYTES` characters, and the newest message of at
    most `MAX_STATES` kinds and nodes. `now` returns seconds since 1970, by which entries carry when
    they were heard.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._listeners: set[Listener] = set()
        self._states: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._entries: deque[Entry] = deque()
        self._size = 0
        self._number = 0

    def publish(self, kind: str, node: str, content: Mapping[str, Any]) -> None:
        """Sends a message to every browser; `node` is the robot's node that it is about."""
        message = {'type': kind, 'node': node, **content}
        if kind in TIME_LINE:
            text = self._keep_entry(kind, message)
        else:
            text = json.dumps(message, ensure_ascii=False)
            self._states[kind, node] = text
            self._states.move_to_end((kind, node))
            while len(self._states) > MAX_STATES:
                self._states.popitem(last=False)
        for listener in tuple(self._listeners):
            listener(text)

    def _keep_entry(self, kind: str, message: dict[str, Any]) -> str:
        self._number += 1
        message |= {'number': self._number, 'heard': round(1000 * self._now())}
        text = json.dumps(message, ensure_ascii=False)
        said = message.get(kind)
        fields = said if isinstance(said, Mapping) else {}
        words = ' '.join(str(fields.get(name, '')) for name in SEARCHED).lower()
        self._entries.append(Entry(self._number, kind, words, text))
        self._size += len(text)
        while len(self._entries) > MAX_ENTRIES or self._size > MAX_BYTES:
            self._size -= len(self._entries.popleft().text)
        return text

    def forget(self, node: str) -> None:
        """Drops the states of a node that is gone and of its parts, which are called `node: part`;
        what it said stays.
        """
        for key in [key for key in self._states if key[1].partition(':')[0] == node]:
            del self._states[key]

    def join(self, listener: Listener) -> Callable[[], None]:
        """Gives a browser the states and the newest entries, then what comes; the function that is
        returned ends that.
        """
        for text in self._states.values():
            listener(text)
        found, has_more = self.found(0, '', TIME_LINE)
        for entry in reversed(found):
            listener(entry.text)
        listener(json.dumps({'type': 'line', 'has_more': has_more}))
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def found(self, before: int, words: str, kinds: Collection[str]) -> tuple[list[Entry], bool]:
        """Returns the newest `PAGE` entries of these kinds that have `words` and a number below
        `before` (0: all), newest first, and whether there are more.
        """
        wanted, found = words.lower(), list[Entry]()
        for entry in reversed(self._entries):
            if before and entry.number >= before:
                continue
            if entry.kind in kinds and wanted in entry.words:
                if len(found) == PAGE:
                    return found, True
                found.append(entry)
        return found, False

    @property
    def browsers(self) -> int:
        """How many browsers are shown something now."""
        return len(self._listeners)
