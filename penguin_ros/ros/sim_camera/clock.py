# SPDX-License-Identifier: Apache-2.0
"""The time of a simulated world: it runs with the steady clock, faster or slower, and can be set
back.

Any thread may read, wait and reset.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from penguin_ros.frame import NANOSECONDS


class SimulatedClock:
    """A clock that starts at `start_ns` and gains `factor` seconds per steady second.

    `epoch` counts how often it was set back.
    """

    def __init__(
        self, start_ns: int, factor: float, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._start_ns = start_ns
        self._factor = factor
        self._steady_ns = steady_ns
        self._changed = threading.Condition()  # guards everything below
        self._origin_ns = steady_ns()
        self._epoch = 0
        self._is_closed = False

    @property
    def epoch(self) -> int:
        """Number of resets so far."""
        return self._epoch

    @property
    def is_closed(self) -> bool:
        """Whether the clock was closed, after which nobody waits."""
        return self._is_closed

    def now(self) -> tuple[int, int]:
        """Returns (epoch, nanoseconds)."""
        with self._changed:
            return self._epoch, self._now_ns()

    def reset(self) -> None:
        """Sets the time back to the start and wakes everyone who waits."""
        with self._changed:
            self._origin_ns = self._steady_ns()
            self._epoch += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Ends every wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait_until(self, epoch: int, time_ns: int) -> bool:
        """Waits until that time of that epoch.

        Returns False as soon as the epoch is another one or the clock is closed.
        """
        with self._changed:
            while epoch == self._epoch and not self._is_closed:
                left_ns = time_ns - self._now_ns()
                if left_ns <= 0:
                    return True
                self._changed.wait(left_ns / self._factor / NANOSECONDS)
            return False

    def run_in(self, epoch: int, action: Callable[[], None]) -> bool:
        """Runs a short `action`, during which the clock cannot be reset.

        Returns False, without running it, when the epoch is another one or the clock is closed.
        """
        with self._changed:
            if epoch != self._epoch or self._is_closed:
                return False
            action()
            return True

    def _now_ns(self) -> int:
        return self._start_ns + round((self._steady_ns() - self._origin_ns) * self._factor)


class WallClock(SimulatedClock):
    """Real time, which cannot be set back."""

    def __init__(self, now_ns: int) -> None:
        super().__init__(now_ns, 1.0)

    def reset(self) -> None:
        """Does nothing."""
