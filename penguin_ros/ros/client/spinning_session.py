# SPDX-License-Identifier: Apache-2.0
"""A session with a thread of its own that spins, so that any thread may wait for what arrives."""

from __future__ import annotations

import atexit
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from penguin_ros.errors import Inactive, RequestCancelled
from penguin_ros.ros.client.session import Made, Session, join_graph, leave_graph

SPIN_S = 0.1
_NUMBERS = itertools.count()


class SpinningSession(Session):
    """A node, its executor and the thread that spins it, until `close`.

    Whatever touches the node runs on that thread, by `do`; other threads wait in `spin_until` and
    are woken after each callback. It has a context of its own: a program that already uses rclpy
    notices nothing.
    """

    def __init__(self, name: str) -> None:
        self._context, node, executor = join_graph(f'{name}_{next(_NUMBERS)}')
        super().__init__(node, executor)
        self._progress = threading.Condition()
        self._is_closed = False
        self._waiting = threading.local()
        self._thread = threading.Thread(target=self._spin, name='penguin_client', daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a thread in rcl does not survive the end of Python

    def close(self) -> None:
        """Ends the thread and leaves the graph; who still waits gets Inactive."""
        with self._progress:
            if self._is_closed:
                return
            self._is_closed = True
            self._progress.notify_all()
        atexit.unregister(self.close)
        self._thread.join()
        leave_graph(self._context, self.node, self.executor)

    def do(self, call: Callable[[], Made]) -> Made:
        """Has the thread that spins run the call, and returns what that returns."""
        if threading.current_thread() is self._thread:
            return call()
        done: Future[Made] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:  # whoever asked gets it; the thread goes on
                done.set_exception(error)

        self._check_open()
        self.executor.create_task(run)
        while not done.done():
            self._wait_for_progress(done.done)
        return done.result()

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until the condition holds; False after `timeout_s`. Inactive when the session is
        closed meanwhile, RequestCancelled when the call that waits was given up.
        """
        end = time.monotonic() + timeout_s
        given_up = getattr(self._waiting, 'given_up', None)
        while not self._holds(condition):
            if given_up is not None and given_up.is_set():
                raise RequestCancelled('the call was given up', 'its task was cancelled')
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._wait_for_progress(condition, left)
        return True

    def run(self, call: Callable[[], Made], given_up: threading.Event) -> Made:
        """Runs a call on this thread; what it waits for ends with RequestCancelled as soon as
        `given_up` is set.
        """
        self._waiting.given_up = given_up
        try:
            return call()
        finally:
            self._waiting.given_up = None

    def _wait_for_progress(self, condition: Callable[[], bool], left_s: float = SPIN_S) -> None:
        with self._progress:
            self._check_open()
            if not condition():  # notified between a look at it and this one
                self._progress.wait(min(SPIN_S, left_s))

    def _holds(self, condition: Callable[[], bool]) -> bool:
        self._check_open()
        try:
            return condition()
        except Exception:
            self._check_open()  # closed meanwhile: what the condition looks at is gone
            raise

    def _check_open(self) -> None:
        if self._is_closed or not self._thread.is_alive():
            raise Inactive('the client is closed', '', 'Make a new one: Penguin()')

    def _spin(self) -> None:
        while not self._is_closed:
            self.executor.spin_once(timeout_sec=SPIN_S)
            with self._progress:
                self._progress.notify_all()
