# SPDX-License-Identifier: Apache-2.0
"""One rising time for the images of a bag, whatever their header stamps do.

Header stamps say when an image was taken, the bag's times when it was recorded. As long as the
stamps go on as time does, they count. Where they do not (zero, the same twice, one far ahead, a
clock that was set, two cameras on one topic), the bag's times bridge the gap.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.frame import NANOSECONDS

TOLERANCE_NS = NANOSECONDS
"""How much later than any before it a stamp may be against the bag's time. Delays of a recorder
make stamps earlier against it, never later.
"""

SAME_PACE = 3
"""A gap of at most so many times the one before it is the camera's pace: time that a simulation
runs faster than the bag's, say.
"""

SIMULATED_NS = 3600 * NANOSECONDS
"""A second stamp below this makes a first one of zero the beginning of a simulation."""


@dataclass(frozen=True)
class Stamped:
    """The two times of a message: of its header (None where it has none) and of the bag."""

    stamp_ns: int | None
    bag_ns: int


class BagClock:
    """Places messages, in the order of the bag, on one time that rises strictly.

    `odd` counts stamps that did not fit and were replaced by the time of recording; `steps` are
    (time, by how much) where the clock of the stamps was set.
    """

    def __init__(self) -> None:
        self.odd = 0
        self.steps: list[tuple[int, int]] = []
        self._shift_ns = 0  # from stamps to our time
        self._last: Stamped | None = None  # the last message whose stamp counted
        self._last_ns = 0  # its time
        self._gap_ns: int | None = None  # between the last two stamps that counted
        self._lead_ns = 0  # the most that a stamp was ahead of the bag's time
        self._newest_ns: int | None = None

    def place(self, message: Stamped, following: Stamped | None) -> int:
        """Returns the time of a message; `following` is the one after it, None at the end."""
        time_ns = self._placed(message, following)
        if self._newest_ns is not None:
            time_ns = max(time_ns, self._newest_ns + 1)
        self._newest_ns = time_ns
        return time_ns

    def _placed(self, message: Stamped, following: Stamped | None) -> int:
        if self._last is None or self._last.stamp_ns is None:
            return self._first(message, following)
        if self._goes_on(self._last, message, following):
            assert message.stamp_ns is not None
            return self._count(message, message.stamp_ns + self._shift_ns)
        by_bag_ns = self._last_ns + max(0, message.bag_ns - self._last.bag_ns)
        is_set = (
            following is not None
            and message.stamp_ns is not None
            and self._is_pace(message, following)
            and not self._goes_on(self._last, following, None)
        )
        if not is_set:
            self.odd += 1
            return by_bag_ns
        assert message.stamp_ns is not None and self._last.stamp_ns is not None
        gap_ns = message.bag_ns - self._last.bag_ns
        self.steps.append((by_bag_ns, message.stamp_ns - self._last.stamp_ns - gap_ns))
        self._shift_ns = by_bag_ns - message.stamp_ns
        self._lead_ns = message.stamp_ns - message.bag_ns
        self._gap_ns = None
        return self._count(message, by_bag_ns)

    def _first(self, message: Stamped, following: Stamped | None) -> int:
        """A first stamp of zero may be the beginning of a simulation, or none at all."""
        is_unset = not message.stamp_ns and not (
            message.stamp_ns is not None
            and following is not None
            and following.stamp_ns
            and (self._is_pace(message, following) or 0 < following.stamp_ns < SIMULATED_NS)
        )
        stamp_ns = message.stamp_ns
        if is_unset and following is not None and following.stamp_ns:
            self.odd += 1
            stamp_ns = following.stamp_ns - max(0, following.bag_ns - message.bag_ns)
        elif is_unset:
            self.odd += 1
            return message.bag_ns
        assert stamp_ns is not None
        self._lead_ns = stamp_ns - message.bag_ns
        return self._count(Stamped(stamp_ns, message.bag_ns), stamp_ns)

    def _goes_on(self, before: Stamped, message: Stamped, following: Stamped | None) -> bool:
        """Whether a stamp fits to the last one that counted."""
        if message.stamp_ns is None or before.stamp_ns is None:
            return False
        gap_ns = message.stamp_ns - before.stamp_ns
        if gap_ns <= 0:
            return False
        is_in_time = message.stamp_ns - message.bag_ns <= self._lead_ns + TOLERANCE_NS
        if is_in_time or message.bag_ns <= before.bag_ns:
            return True
        if self._gap_ns is not None:
            return gap_ns <= SAME_PACE * self._gap_ns
        # The second stamp of all: the third tells whether this is the camera's pace.
        return (
            following is not None
            and following.stamp_ns is not None
            and gap_ns <= SAME_PACE * (following.stamp_ns - message.stamp_ns)
        )

    def _is_pace(self, message: Stamped, following: Stamped) -> bool:
        """Whether two stamps in a row lie as far apart as their recording, or as the camera's last
        ones.
        """
        if message.stamp_ns is None or following.stamp_ns is None:
            return False
        gap_ns = following.stamp_ns - message.stamp_ns
        is_bags = abs(gap_ns - (following.bag_ns - message.bag_ns)) <= TOLERANCE_NS
        is_cameras = self._gap_ns is not None and gap_ns <= SAME_PACE * self._gap_ns
        return gap_ns > 0 and (is_bags or is_cameras)

    def _count(self, message: Stamped, time_ns: int) -> int:
        assert message.stamp_ns is not None
        if self._last is not None and self._last.stamp_ns is not None:
            gap_ns = message.stamp_ns - self._last.stamp_ns
            self._gap_ns = gap_ns if gap_ns > 0 else None
        self._lead_ns = max(self._lead_ns, message.stamp_ns - message.bag_ns)
        self._last = message
        self._last_ns = time_ns
        return time_ns
