# SPDX-License-Identifier: Apache-2.0
"""Which of a camera's two topics to subscribe to. Knows neither ROS nor pictures."""
from __future__ import annotations

from collections.abc import Set

from penguin_ros.frame import NANOSECONDS

PATIENCE_NS = 3 * NANOSECONDS
LONGEST_PATIENCE_NS = 60 * NANOSECONDS


class TransportChoice:
    """`auto` takes the topic that has a matching publisher, raw first, and stays while frames come.

    It changes to the other one when the publisher disappears, or when no frame could be used for PATIENCE_NS although the other
    has a publisher too (raw pictures that the transport loses, say); each such try doubles the patience until a frame comes.
    """

    def __init__(self, transport: str, now_ns: int) -> None:
        self._is_auto = transport == 'auto'
        self.current = 'raw' if self._is_auto else transport
        self._since_ns = now_ns
        self._patience_ns = PATIENCE_NS

    def choose(self, published: Set[str], last_frame_ns: int | None, now_ns: int) -> str:
        """The transport to use now, given those that have a matching publisher."""
        other = 'compressed' if self.current == 'raw' else 'raw'
        if last_frame_ns is not None and last_frame_ns >= self._since_ns:
            self._patience_ns = PATIENCE_NS
        if not self._is_auto or other not in published:
            return self.current
        heard_ns = max(self._since_ns, last_frame_ns or self._since_ns)
        if self.current not in published:
            self._change(other, now_ns)
        elif now_ns - heard_ns > self._patience_ns:
            self._patience_ns = min(2 * self._patience_ns, LONGEST_PATIENCE_NS)
            self._change(other, now_ns)
        return self.current

    def _change(self, transport: str, now_ns: int) -> None:
        self.current, self._since_ns = transport, now_ns
