# SPDX-License-Identifier: Apache-2.0
"""Keeps rules, and what they were doing, in files: on a thread of its own, since a disk may take
its time.

Calls come from the executor's thread; results go back through the executor queue.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.task import Future

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.executor_queue import ExecutorQueue
from penguin_ros.rules.event import SavedMonitor
from penguin_ros.rules.rule_store import RuleStore
from penguin_ros.user_cache import expanded

AUTO = 'auto'
FOLDER = 'penguin_rules'

Work = Callable[[], None]


def rule_file(setting: str, node_name: str) -> Path | None:
    """Returns the file that `rule.file` names for a node; None where rules are not kept."""
    if not setting:
        return None
    if setting != AUTO:
        return Path(expanded(setting)).absolute()
    home = os.environ.get('ROS_HOME') or str(Path.home() / '.ros')
    return Path(home) / FOLDER / f'{node_name.strip("/").replace("/", ".")}.yaml'


class RuleKeeper:
    """Writes on its thread, in the order of the calls, from the start to `close`.

    `problem` is what the last write of the states failed with, '' when it did not.
    """

    def __init__(self, store: RuleStore, node: Any, executor_queue: ExecutorQueue) -> None:
        self.problem = ''
        self._store = store
        self._node = node
        self._executor_queue = executor_queue
        self._calls: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._saved: tuple[SavedMonitor, ...] | None = None
        self._then: list[Work] = []
        self._lock = threading.Lock()  # guards what is to be saved
        self._thread = threading.Thread(target=self._run, name='rule keeper', daemon=True)
        self._thread.start()

    def write(self, call: Callable[[RuleStore], None]) -> Future:
        """Makes a call with the store; the future gets None or what it raises."""
        done: Future = Future(executor=self._node.executor)

        def work() -> None:
            try:
                call(self._store)
            except Exception as error:
                failure = error
                self._executor_queue.post(lambda: done.set_exception(failure))
            else:
                self._executor_queue.post(lambda: done.set_result(None))

        self._calls.put(work)
        return done

    def save(self, saved: tuple[SavedMonitor, ...], then: Work = lambda: None) -> None:
        """Has the states written, of several that wait only the newest; `then` is called on the
        executor's thread when that is done, or has failed.
        """
        with self._lock:
            is_waiting = self._saved is not None
            self._saved = saved
            self._then.append(then)
        if not is_waiting:
            self._calls.put(self._save)

    def close(self, timeout_s: float = 1.0) -> None:
        """Ends when all is written; waits so long for that."""
        self._calls.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()

    def _save(self) -> None:
        with self._lock:
            saved, self._saved = self._saved, None
            calls, self._then = self._then, []
        try:
            self._store.save_state(saved or ())
            self.problem = ''
        except PenguinError as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = f'{self._store.state_path} cannot be written: {error!r}'
        for call in calls:
            self._executor_queue.post(call)
