# SPDX-License-Identifier: Apache-2.0
"""Hedging: a second endpoint is asked when the first has said nothing for a while, and the one that
speaks first answers. It asks twice what is answered once, so it is off unless it is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from penguin_ros.remote.line import Line
from penguin_ros.remote.question import RemoteAnswer

OnPiece = Callable[[str], None]
Ask = Callable[[Line, OnPiece], Awaitable[RemoteAnswer | None]]
Task = asyncio.Task[RemoteAnswer | None]


class _Race:
    """Lets the pieces of the line that spoke first pass."""

    def __init__(self, on_piece: OnPiece) -> None:
        self.winner: Line | None = None
        self.has_spoken = asyncio.Event()
        self._on_piece = on_piece

    def listener(self, line: Line) -> OnPiece:
        def show(piece: str) -> None:
            if self.winner is None:
                self.winner = line
                self.has_spoken.set()
            if self.winner is line:
                self._on_piece(piece)

        return show


async def first_to_speak(
    ask: Ask, lines: Sequence[Line], hedge_s: float, on_piece: OnPiece
) -> RemoteAnswer | None:
    """Asks the first line, and after `hedge_s` without a piece also the next, and so on. Returns
    the answer of the one that spoke first, or finished first; None when none answered. The others
    are given up.
    """
    race, tasks = _Race(on_piece), dict[Line, Task]()
    try:
        for line in lines:
            tasks[line] = asyncio.ensure_future(_asked(ask, line, race))
            await _wait(race, tasks, hedge_s)
            if race.winner is not None or _answer(tasks) is not None:
                break
        while race.winner is None and _answer(tasks) is None and _running(tasks):
            await _wait(race, tasks, None)
        if race.winner is not None:
            return await tasks[race.winner]
        return _answer(tasks)
    finally:
        for line in lines:
            if line not in tasks:  # it may have been let through as a trial, and was not asked
                line.breaker.note_no_verdict()
        for task in tasks.values():
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


async def _asked(ask: Ask, line: Line, race: _Race) -> RemoteAnswer | None:
    return await ask(line, race.listener(line))


async def _wait(race: _Race, tasks: dict[Line, Task], limit_s: float | None) -> None:
    """Waits until a line speaks or a task ends, at most `limit_s`."""
    spoken = asyncio.ensure_future(race.has_spoken.wait())
    try:
        await asyncio.wait(
            {spoken, *_running(tasks)}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        spoken.cancel()


def _running(tasks: dict[Line, Task]) -> set[Task]:
    return {task for task in tasks.values() if not task.done()}


def _answer(tasks: dict[Line, Task]) -> RemoteAnswer | None:
    """Returns the answer of a task that has ended with one; raises what one has raised."""
    ended = (task.result() for task in tasks.values() if task.done())
    return next((answer for answer in ended if answer is not None), None)
