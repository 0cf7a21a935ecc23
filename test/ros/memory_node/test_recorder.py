# SPDX-License-Identifier: Apache-2.0
"""What was heard reaches the store in order, however slow that is, and what does not is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_ros.errors import StoreError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Kind, NewEntry
from penguin_ros.picture_buffer import Picture
from penguin_ros.ros.memory_node.parameters import PoseConfig, QueueConfig
from penguin_ros.ros.memory_node.recorder import Heard, Recorder
from penguin_ros.ros.memory_node.transforms import NoTransforms
from penguin_ros.transform_tree import FramePose

SECONDS = 10.0


class SlowStore:
    """Takes entries while `gate` is open; `failures` are raised first, one each time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.taken: list[Any] = []
        self.failures: list[Exception] = []

    def add(self, entry: NewEntry, *, is_patient: bool = False) -> bool:
        assert is_patient
        self.gate.wait(SECONDS)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(entry)
        return True

    def begin_session(self, reason: str) -> int:
        self.taken.append(reason)
        return 1


class At:
    """Knows one pose at all times; it lies `age_s` from the stamp."""

    reader, state = 'own', ''

    def __init__(self, age_s: float = 0.0) -> None:
        self.age_s = age_s

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        age_ns = round(self.age_s * NANOSECONDS)
        return FramePose(target, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0), age_ns)

    def clear(self) -> None:
        """Has nothing to forget."""

    def values(self) -> dict[str, Any]:
        return {}


def entry(number: int, kind: Kind = Kind.CAPTION, text: str = '') -> NewEntry:
    stamp = number * NANOSECONDS
    return NewEntry(kind, '/penguin', 'front', stamp, stamp, text or f'number {number}')


def heard(number: int, **more: Any) -> Heard:
    return Heard(entry(number, **more), time.monotonic_ns())


def recorder(store: SlowStore, transforms: Any = None, **queue: int) -> Recorder:
    made = Recorder(
        store,
        transforms or NoTransforms('none here'),
        lambda entry: None,
        PoseConfig(wait=0.0),
        QueueConfig(**queue),
        lambda place, error: None,
    )
    made.start()
    return made


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_slow_disk_costs_nothing_while_the_queue_holds_and_the_order_stays() -> None:
    store = SlowStore()
    store.gate.clear()
    made = recorder(store)
    for number in range(500):
        assert made.take(heard(number))
    assert made.waiting[0] == 500
    store.gate.set()
    assert made.close(SECONDS)
    assert [each.text for each in store.taken] == [f'number {number}' for number in range(500)]
    assert made.waiting == (0, 0)


def test_beyond_its_bounds_entries_are_dropped_and_counted() -> None:
    store = SlowStore()
    store.gate.clear()
    made = recorder(store, length=10)
    assert [made.take(heard(number)) for number in range(13)] == [True] * 10 + [False] * 3
    assert made.counts['dropped: queue full'] == 3
    large = recorder(store, max_bytes=100_000, max_characters=20_000)
    assert large.take(heard(1, text='x' * 20_000))
    assert not large.take(heard(2, text='x' * 20_000))
    store.gate.set()
    assert made.close(SECONDS)
    assert large.close(SECONDS)
    assert not made.take(heard(99))  # it is closed


def test_what_the_store_refuses_is_counted_and_told_until_it_takes_something_again() -> None:
    store = SlowStore()
    store.failures = [StoreError('the disk is gone'), ValueError('a defect')]
    made = recorder(store)
    made.take(heard(1))
    wait_for(lambda: made.last_error is not None)
    assert 'the disk is gone' in str(made.last_error)
    made.take(heard(2))
    made.take(heard(3))
    wait_for(lambda: made.counts['stored'] == 1)
    assert made.counts['not stored: StoreError'] == made.counts['not stored: ValueError'] == 1
    assert made.last_error is None
    made.close(SECONDS)


def test_a_session_begins_between_what_was_heard_before_and_after_it() -> None:
    store = SlowStore()
    made = recorder(store)
    made.take(heard(100))
    made.begin_session('the clock jumped')
    made.take(heard(1))
    made.take(heard(50))
    made.take(heard(20, kind=Kind.ANSWER))  # answers may be about the past
    made.take(heard(2))  # of captions that is a recording that starts again
    assert made.close(SECONDS)
    told = [each if isinstance(each, str) else each.end_ns // NANOSECONDS for each in store.taken]
    assert told[:5] == [100, 'the clock jumped', 1, 50, 20]
    assert 'went back by 48' in told[5]
    assert told[6:] == [2]


@pytest.mark.parametrize(('age_s', 'has_pose'), [(0.0, True), (0.4, True), (0.6, False)])
def test_a_pose_is_stored_with_its_stamp_when_it_is_near_enough(
    age_s: float, has_pose: bool
) -> None:
    store = SlowStore()
    made = recorder(store, At(age_s))
    made.take(heard(10))
    assert made.close(SECONDS)
    pose = store.taken[0].pose
    assert (pose is not None) == has_pose
    if pose is not None:
        assert (pose.frame, pose.x, pose.y, pose.z) == ('map', 1.0, 2.0, 3.0)
        assert pose.stamp_ns == 10 * NANOSECONDS - round(age_s * NANOSECONDS)
    assert bool(made.pose_problem) != has_pose


def test_a_picture_is_added_unless_the_entry_brings_one_or_may_have_none() -> None:
    store = SlowStore()
    made = recorder(store)
    made._find_picture = lambda entry: Picture(7, b'found')  # type: ignore[method-assign]
    made.take(heard(1))
    own = NewEntry(Kind.EVENT, '/penguin', 'front', 1, 2, 'open', picture=b'own', picture_ns=3)
    made.take(Heard(own, 0))
    made.take(Heard(entry(3), 0, may_have_picture=False))
    assert made.close(SECONDS)
    assert [(each.picture, each.picture_ns) for each in store.taken] == [
        (b'found', 7),
        (b'own', 3),
        (b'', 0),
    ]
