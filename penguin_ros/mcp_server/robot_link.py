# SPDX-License-Identifier: Apache-2.0
"""The connection of the server to the robot: made when a tool first needs it, kept, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from penguin_ros.client import AsyncPenguin
from penguin_ros.errors import Busy

MAX_CALLS = 8


@dataclass(frozen=True)
class RobotOptions:
    """Which robot is meant, '' for the only one, and how long a call and the search for it wait."""

    node: str = ''
    memory: str = ''
    timeout_s: float = 120.0
    discovery_s: float = 10.0


class RobotLink:
    """Gives the robot to at most MAX_CALLS calls at a time; more are refused as Busy.

    A robot that is not there yet is looked for again at the next call, so that an agent may be
    started first.
    """

    def __init__(self, options: RobotOptions) -> None:
        self._options = options
        self._robot: AsyncPenguin | None = None
        self._opening = asyncio.Lock()
        self._calls = 0

    @asynccontextmanager
    async def robot(self) -> AsyncIterator[AsyncPenguin]:
        """Yields the robot for one call; NodeNotFound when there is none."""
        if self._calls >= MAX_CALLS:
            raise Busy(
                f'{MAX_CALLS} calls are under way', 'more are not taken', 'Call again when one ends'
            )
        self._calls += 1
        try:
            yield await self._opened()
        finally:
            self._calls -= 1

    async def close(self) -> None:
        """Leaves the graph."""
        if self._robot is not None:
            await self._robot.close()

    async def _opened(self) -> AsyncPenguin:
        async with self._opening:
            if self._robot is None:
                options = self._options
                robot = AsyncPenguin(
                    options.node,
                    memory=options.memory,
                    timeout_s=options.timeout_s,
                    discovery_s=options.discovery_s,
                )
                self._robot = await robot.__aenter__()
            return self._robot
