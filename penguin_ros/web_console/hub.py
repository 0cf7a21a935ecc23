# SPDX-License-Identifier: Apache-2.0
"""What every browser is shown: the newest of each kind, and a time line of what has been said.

`publish` may be called from any thread of the loop's own callbacks only; others go through
`loop.call_soon_threadsafe`. A browser that comes later gets the newest states and the time line.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

MAX_ENTRIES = 2000
MAX_STATES = 512

TIME_LINE = ('caption', 'answer', 'event')
"""Kinds of messages that are entries of the time line; of others the newest counts."""

Listener = Callable[[str], None]


class Hub:
    """Keeps at most `MAX_ENTRIES` entries, and the newest message of at most `MAX_STATES` kinds and
    nodes.
    """

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._states: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._entries: deque[str] = deque(maxlen=MAX_ENTRIES)

    def publish(self, kind: str, node: str, content: Mapping[str, Any]) -> None:
        """Sends a message to every browser; `node` is the robot's node that it is about."""
        text = json.dumps({'type': kind, 'node': node, **content}, ensure_ascii=False)
        if kind in TIME_LINE:
            self._entries.append(text)
        else:
            self._states[kind, node] = text
            self._states.move_to_end((kind, node))
            while len(self._states) > MAX_STATES:
                self._states.popitem(last=False)
        for listener in tuple(self._listeners):
            listener(text)

    def forget(self, node: str) -> None:
        """Drops the states of a node that is gone; what it said stays."""
        for key in [key for key in self._states if key[1] == node]:
            del self._states[key]

    def join(self, listener: Listener) -> Callable[[], None]:
        """Gives a browser everything there is, then what comes; the function that is returned ends
        that.
        """
        for text in (*self._states.values(), *self._entries):
            listener(text)
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    @property
    def browsers(self) -> int:
        """How many browsers are shown something now."""
        return len(self._listeners)
