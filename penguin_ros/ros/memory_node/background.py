# SPDX-License-Identifier: Apache-2.0
"""Lets coroutines of the executor wait: for work on other threads, and for what may never come.

Nothing here blocks the executor's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from penguin_ros.errors import Busy
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

THREADS = 2
MAX_WAITING = 64
"""Work that may wait for a thread; more is refused."""
CHECK_S = 0.1


class Background:
    """Runs work on a few threads, and ends waiting at a deadline; used on the executor's thread."""

    def __init__(self, node: Node, executor_queue: ExecutorQueue, guard: CallbackGuard) -> None:
        self._node = node
        self._executor_queue = executor_queue
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix='memory search')
        self._waiting = 0
        self._deadlines: list[tuple[int, Future, Callable[[], BaseException]]] = []
        self._timer = node.create_timer(
            CHECK_S,
            guard.wrap(self._check),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._timer.cancel()

    async def run(self, work: Callable[[], Any]) -> Any:
        """Returns what `work` returns on another thread, or raises what it raises; Busy when too
        much waits already.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy(
                'the memory is busy', f'{self._waiting} searches wait already', 'Ask again later'
            )
        future = Future(executor=self._node.executor)
        self._waiting += 1
        try:
            self._pool.submit(self._work, work, future)
            return await future
        finally:
            self._waiting -= 1

    def start(self, work: Callable[[], None]) -> None:
        """Has work done that nobody waits for."""
        self._pool.submit(work)

    async def within(
        self, future: Any, deadline_ns: int, too_late: Callable[[], BaseException]
    ) -> Any:
        """Returns the result of another future, or raises what `too_late` makes when it has not
        come by then (steady clock). The other future is left alone.
        """
        mine = Future(executor=self._node.executor)
        future.add_done_callback(partial(hand_over, mine))
        self._deadlines.append((deadline_ns, mine, too_late))
        self._timer.reset()
        return await mine

    def end(self, future: Future, error: BaseException) -> None:
        """Has whoever awaits `future` get the error, unless it is done."""
        if not future.done():
            future.set_exception(error)
        self._wake()

    def future(self) -> Future:
        """Returns a future that can be awaited on the executor's thread."""
        return Future(executor=self._node.executor)

    def close(self) -> None:
        """Takes no more work; what runs goes on to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, work: Callable[[], Any], future: Future) -> None:
        try:
            result = work()
        except BaseException as error:  # it belongs to whoever awaits it
            failure = error
            self._executor_queue.post(lambda: future.set_exception(failure))
        else:
            self._executor_queue.post(lambda: future.set_result(result))

    def _check(self) -> None:
        now_ns = time.monotonic_ns()
        self._deadlines = [each for each in self._deadlines if not each[1].done()]
        for deadline_ns, future, too_late in self._deadlines:
            if now_ns >= deadline_ns:
                future.set_exception(too_late())
        if not self._deadlines:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._node.executor is not None:
            self._node.executor.wake()


def hand_over(mine: Any, done: Any) -> None:
    """Ends `mine` as the future `done` has ended, unless it has ended already."""
    if mine.done():
        return
    error = done.exception()
    if error is not None:
        mine.set_exception(error)
    else:
        mine.set_result(done.result())
