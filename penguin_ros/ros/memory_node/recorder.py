# SPDX-License-Identifier: Apache-2.0
"""Carries what was heard to the store, on a thread of its own: with the robot's pose at the stamp,
and a picture where one is wanted.

The executor's thread only puts messages into the queue, which is bounded by count and bytes. What
does not fit is dropped and counted by cause.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Kind, NewEntry, Pose
from penguin_ros.picture_buffer import Picture
from penguin_ros.ros.memory_node.parameters import PoseConfig, QueueConfig
from penguin_ros.ros.memory_node.transforms import READ_PERIOD_S, Transforms
from penguin_ros.transform_tree import FramePose, PoseUnknown

LOOK_S = 0.05
SILENT_NS = round(1.5 * READ_PERIOD_S * NANOSECONDS)
"""How long is waited for transforms where none has ever come."""
BACK_NS = 5 * NANOSECONDS
ENTRY_BYTES = 500
"""What an entry takes besides its texts and picture, about."""


@dataclass(frozen=True)
class Heard:
    """A message as an entry, when it came (steady clock), and whether it may get a picture."""

    entry: NewEntry
    received_ns: int
    may_have_picture: bool = True

    @property
    def size(self) -> int:
        """Bytes that it takes in the queue, about."""
        entry = self.entry
        return ENTRY_BYTES + 4 * (len(entry.text) + len(entry.question)) + len(entry.picture)


class Remembering(Protocol):
    """Where entries go; see memory.store.Store."""

    def add(self, entry: NewEntry, *, is_patient: bool = False) -> bool:
        """Takes an entry; raises a PenguinError when it cannot be one."""

    def begin_session(self, reason: str) -> int:
        """Begins a stretch of time whose stamps do not compare with those before."""


class Recorder:
    """Runs from `start` to `close`; `counts` says what became of what was heard, by cause.

    `find_picture` returns the picture for an entry, None where there is none; it is called on the
    recorder's thread, as the store is. Captions whose stamps go back by more than BACK_NS begin a
    session of their own: the clock was set back, or a recording is played again.
    """

    def __init__(
        self,
        store: Remembering,
        transforms: Transforms,
        find_picture: Callable[[NewEntry], Picture | None],
        pose: PoseConfig,
        queue: QueueConfig,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.last_error: PenguinError | None = None
        self.pose_problem = ''
        self._store = store
        self._transforms = transforms
        self._find_picture = find_picture
        self._pose = pose
        self._limits = queue
        self._report = report
        self._queue: deque[Heard | str] = deque()
        self._bytes = 0
        self._newest_ns: dict[tuple[str, str], int] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name='memory recorder', daemon=True)

    def start(self) -> None:
        """Begins to carry."""
        self._thread.start()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many entries wait, and their bytes."""
        with self._changed:
            return len(self._queue), self._bytes

    def take(self, heard: Heard) -> bool:
        """Puts what was heard into the queue; False when it is full. Any thread."""
        heard = self._shortened(heard)
        with self._changed:
            is_full = (
                len(self._queue) >= self._limits.length
                or self._bytes + heard.size > self._limits.max_bytes
            )
            if is_full or self._is_closing:
                self.counts['dropped: queue full' if is_full else 'dropped: closing'] += 1
                return False
            self.counts[f'heard: {heard.entry.kind.name.lower()}s'] += 1
            self._queue.append(heard)
            self._bytes += heard.size
            self._changed.notify()
        return True

    def begin_session(self, reason: str) -> None:
        """Has what is heard from now on stand in a session of its own; any thread."""
        with self._changed:
            self._queue.append(reason)
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Takes nothing more and waits until all that was heard is handed to the store; False when
        that takes longer.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _shortened(self, heard: Heard) -> Heard:
        limit, entry = self._limits.max_characters, heard.entry
        if max(len(entry.text), len(entry.question)) <= limit:
            return heard
        self.counts['texts cut'] += 1
        short = dataclasses.replace(entry, text=entry.text[:limit], question=entry.question[:limit])
        return dataclasses.replace(heard, entry=short)

    # --- the recorder's thread --------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._is_closing:
                    self._changed.wait()
                if not self._queue:
                    return
                heard = self._queue[0]
            try:
                if isinstance(heard, str):
                    self._new_session(heard)
                else:
                    self._record(heard)
            except PenguinError as error:
                self.last_error = error.fresh()
                self.counts[f'not stored: {type(error).__name__}'] += 1
            except Exception as error:
                self.counts[f'not stored: {type(error).__name__}'] += 1
                self._report('the recorder', error)
            with self._changed:
                self._queue.popleft()
                self._bytes -= 0 if isinstance(heard, str) else heard.size

    def _new_session(self, reason: str) -> None:
        self._newest_ns.clear()
        self._store.begin_session(reason)
        self.counts['sessions begun'] += 1

    def _record(self, heard: Heard) -> None:
        if heard.entry.kind is Kind.CAPTION:
            self._notice_going_back(heard.entry)
        entry = dataclasses.replace(heard.entry, pose=self._pose_at(heard))
        if heard.may_have_picture and not entry.picture:
            picture = self._find_picture(entry)
            if picture is not None:
                self.counts['pictures'] += 1
                entry = dataclasses.replace(
                    entry, picture=picture.jpeg, picture_ns=picture.stamp_ns
                )
        # While the disk is slow what is heard waits in the queue here, which is bounded by bytes.
        self._store.add(entry, is_patient=True)
        self.counts['stored'] += 1
        self.last_error = None

    def _notice_going_back(self, entry: NewEntry) -> None:
        key = entry.node, entry.camera
        before_ns = self._newest_ns.get(key, 0)
        if entry.end_ns < before_ns - BACK_NS:
            seconds = (before_ns - entry.end_ns) / NANOSECONDS
            self._new_session(f'the stamps of {entry.camera!r} went back by {seconds:.3f} s')
            before_ns = 0
        self._newest_ns[key] = max(before_ns, entry.end_ns)

    def _pose_at(self, heard: Heard) -> Pose | None:
        """Returns the pose at the newest stamp, for whose transforms it waits a little."""
        if not self._pose.base_frame:
            return None
        end_ns = heard.received_ns + round(self._pose.wait * NANOSECONDS)
        silent_end_ns = heard.received_ns + SILENT_NS
        tolerance_ns = round(self._pose.tolerance * NANOSECONDS)
        stamp_ns = heard.entry.end_ns
        while True:
            try:
                found = self._transforms.pose(self._pose.map_frame, self._pose.base_frame, stamp_ns)
                cause, problem = _objection(found, tolerance_ns, stamp_ns)
            except PoseUnknown as error:
                found, cause, problem = None, error.cause, str(error)
            if found is not None and not found.is_beyond:
                break
            is_silent = bool(self._transforms.state) and time.monotonic_ns() >= silent_end_ns
            if time.monotonic_ns() >= end_ns or self._is_closing or is_silent:
                break
            time.sleep(LOOK_S)  # with a transform that is newer than the stamp it is exact
        self.pose_problem = problem
        if found is None or problem:
            self.counts[f'no pose: {cause}'] += 1
            return None
        self.counts['poses'] += 1
        return _stored(found, stamp_ns)


def _objection(found: FramePose, tolerance_ns: int, stamp_ns: int) -> tuple[str, str]:
    """Returns why a pose is not good enough: one word and a sentence; '' when it is."""
    if found.age_ns <= tolerance_ns:
        return '', ''
    return 'too old', (
        f'the nearest transform lies {found.age_ns / NANOSECONDS:.3f} s from the stamp '
        f'{stamp_ns / NANOSECONDS:.3f}, {tolerance_ns / NANOSECONDS:g} s are allowed '
        '(pose.tolerance)'
    )


def _stored(found: FramePose, stamp_ns: int) -> Pose:
    return Pose(found.frame, *found.position, *found.rotation, stamp_ns - found.age_ns)
