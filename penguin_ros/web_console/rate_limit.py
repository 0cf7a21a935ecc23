# SPDX-License-Identifier: Apache-2.0
"""How often one client may ask: a bucket of tokens for each, which fills at a steady rate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """`burst` requests at once, and `rate` per second in the long run, for each client by name.

    At most `most_clients` are remembered; the one that asked longest ago is forgotten, which can
    only favour it.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float], most_clients: int = 1024
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._most_clients = most_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def wait_s(self, client: str) -> float:
        """Takes a token and returns 0.0, or returns the seconds until there is one."""
        now = self._clock()
        tokens, then = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        wait = max(0.0, (1.0 - tokens) / self._rate)
        self._buckets[client] = (tokens if wait else tokens - 1.0, now)
        while len(self._buckets) > self._most_clients:
            self._buckets.popitem(last=False)
        return wait
