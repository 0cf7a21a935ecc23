# SPDX-License-Identifier: Apache-2.0
"""Reads the images of a rosbag2 recording, which needs no installed ROS 2: of a folder, or of one
of its files, whole or damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from penguin_ros.errors import ImageError
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.frame_sampling import RecordingSampler
from penguin_ros.libraries import remedy
from penguin_ros.media.bag_clock import BagClock, Stamped
from penguin_ros.media.bag_files import BagFiles, open_bag_files
from penguin_ros.media.bag_storage import (
    ZSTD_MAGIC,
    Lost,
    StoredMessage,
    StoredTopic,
    decompressed,
)
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.media.recording import Account
from penguin_ros.media.video import MediaError

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CDR = 'cdr'
MESSAGE = 'message'
RECOVER = 'A whole file of it makes: mcap recover FILE -o whole.mcap'


@dataclass(frozen=True)
class _Item:
    """A message of the image topic with its two times; or what is lost in its place."""

    stored: StoredMessage | None
    times: Stamped
    lost: Lost | None = None


@dataclass(frozen=True)
class _Stopped:
    """Where a call of `frames` stopped: `placed` begins with an image that is not before `end_ns`,
    and `account` is what it was before the clock's notes came.
    """

    end_ns: int
    placed: Iterator[tuple[_Item, int]]
    clock: BagClock
    account: Account


class BagRecording:
    """One image topic of a bag, which is read from its beginning on, or from where the call of
    `frames` before stopped.

    MediaError when the bag cannot be read, has no such topic, or has several and none was named.
    """

    def __init__(self, path: Path, topic: str = '') -> None:
        self.path = path
        self._types = _message_types(path)
        self._bag: BagFiles = open_bag_files(path)
        topics = [found for file in self._bag.files for found in file.topics.values()]
        self.topic = _chosen_topic(path, topics, topic, self._count)
        self._check_topic([found for found in topics if found.name == self.topic])
        starts = [file.start_ns for file in self._bag.files if file.start_ns is not None]
        ends = [file.end_ns for file in self._bag.files if file.end_ns is not None]
        self._start_ns = min(starts, default=0)
        self.duration_ns = max(ends, default=0) - self._start_ns
        self.account = Account()
        self._stopped: _Stopped | None = None
        self.origin_ns = self._origin()

    def length_ns(self) -> int:
        """Implements Recording, by when messages were recorded."""
        return self.duration_ns + 1

    def frames(
        self, sample_fps: float = 0.0, start_ns: int = 0, end_ns: int | None = None
    ) -> Iterator[tuple[int, Image]]:
        """Implements Recording: times are header stamps as long as these go on as time does, see
        BagClock.
        """
        placed, clock = self._begun(start_ns)
        account, sampler = self.account, RecordingSampler(sample_fps)
        for item, time_ns in placed:
            if item.lost is not None:
                self._lose(item.lost)
                continue
            since_ns = time_ns - self.origin_ns
            if end_ns is not None and since_ns >= end_ns:
                account.stop()
                rest = chain([(item, time_ns)], placed)
                self._stopped = _Stopped(end_ns, rest, clock, deepcopy(account))
                break
            if since_ns < start_ns or not sampler.is_due(time_ns):
                account.pass_over(time_ns)
                continue
            image = self._image(item.stored, time_ns)
            if image is not None:
                sampler.take(time_ns)
                account.use(time_ns)
                yield time_ns, image
        else:
            self._close_account()
        self._tell_clock(clock)

    def _begun(self, start_ns: int) -> tuple[Iterator[tuple[_Item, int]], BagClock]:
        """Returns what to read on with, and the clock that places it."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None and start_ns >= stopped.end_ns:
            self.account = stopped.account
            self.account.read_on()
            return stopped.placed, stopped.clock
        self.account = Account(notes=list(self._bag.notes))
        clock = BagClock()
        return _placed(self._items(), clock), clock

    # --- messages ---------------------------------------------------------------------------------

    def _items(self) -> Iterator[_Item]:
        for file in self._bag.files:
            for found in file.messages(self.topic):
                if isinstance(found, Lost):
                    yield _Item(None, Stamped(None, 0), found)
                else:
                    message = _unpacked(found)
                    yield _Item(message, Stamped(_stamp(message.data), message.bag_ns))

    def _image(self, message: StoredMessage | None, time_ns: int) -> Image | None:
        """Converts a message, or accounts for it."""
        assert message is not None
        try:
            return message_to_rgb(self._types.deserialize_cdr(message.data, message.topic.type))
        except ImageError as error:
            self.account.leave_out(error.cause, f'{error.what}: {error.why}', error.fix, time_ns)
        except Exception as error:  # whatever the library raises over bytes that are no message
            reason = f'a message of {len(message.data)} bytes is cut short or damaged: {error}'
            self.account.leave_out(MESSAGE, reason, '', time_ns)
        return None

    def _origin(self) -> int:
        """The time of the images at which the recording begins: its first image comes as long after
        it as it was recorded after the first message of the bag.
        """
        clock = BagClock()
        for item, following in _pairs(self._items()):
            if item.lost is None:
                delay_ns = item.times.bag_ns - self._start_ns
                is_sound = 0 <= delay_ns <= self.duration_ns
                return clock.place(item.times, following) - (delay_ns if is_sound else 0)
        return 0

    # --- what is lost -----------------------------------------------------------------------------

    def _lose(self, lost: Lost) -> None:
        if lost.count is None:
            self.account.notes.append(f'{self.path}: {lost.reason}')
            self.account.is_cut = True
        elif lost.count:
            self.account.leave_out(lost.cause, lost.reason, count=lost.count)

    def _close_account(self) -> None:
        """Compares what was found with what the bag says it holds."""
        account = self.account
        cut = [file for file in self._bag.files if file.is_cut]
        for file in cut:
            account.is_cut = True
            size = file.path.stat().st_size
            account.notes.append(
                f'{file.path.name} was cut off after {size} bytes, as by a power cut: it has no '
                f'end. What is whole was read. {RECOVER}'
            )
        promised = self._promised()
        missing = (promised or 0) - account.total
        if missing > 0:
            account.is_cut = True
            reason = f'the bag says that it has {promised} images on {self.topic}'
            account.leave_out('missing', reason, count=missing)

    def _promised(self) -> int | None:
        if self.path.is_dir() and self.topic in self._bag.promised:
            return self._bag.promised[self.topic]
        return self._count(self.topic)

    def _count(self, topic: str) -> int | None:
        """How many messages the files say a topic has; None where one does not say."""
        total = 0
        for file in self._bag.files:
            for channel, found in file.topics.items():
                if found.name == topic:
                    count = file.count(channel)
                    if count is None:
                        return None
                    total += count
        return total

    def _tell_clock(self, clock: BagClock) -> None:
        for time_ns, step_ns in clock.steps:
            seconds = (time_ns - self.origin_ns) / NANOSECONDS
            step = f'{"back" if step_ns < 0 else "ahead"} by {abs(step_ns) / NANOSECONDS:.3f} s'
            self.account.notes.append(
                f'the clock of the stamps was set {step} at {seconds:.1f} s: times go on as the '
                'bag was recorded'
            )
        if clock.odd:
            stamps = '1 stamp does' if clock.odd == 1 else f'{clock.odd} stamps do'
            self.account.notes.append(
                f'{stamps} not fit to the others (zero, repeated, or of another clock): the time '
                'of recording was taken'
            )

    # --- topics -----------------------------------------------------------------------------------

    def _check_topic(self, found: list[StoredTopic]) -> None:
        encodings = {topic.encoding for topic in found} - {CDR, ''}
        if encodings:
            raise MediaError(
                f'cannot read the images on {self.topic}',
                f'its messages are written as {", ".join(sorted(encodings))}, not as ROS 2 writes '
                'them (cdr)',
                'Record it with ros2 bag record; a ROS 1 bag is converted with: '
                'rosbags-convert --src old.bag --dst ros2_bag',
            )
        if self._count(self.topic) == 0:
            raise MediaError(
                f'{self.topic} of {self.path} is empty',
                'the bag knows the topic, and nothing was recorded on it',
                'Record again while the camera publishes; see it with: ros2 topic hz TOPIC',
            )


def _pairs(items: Iterator[_Item]) -> Iterator[tuple[_Item, Stamped | None]]:
    """Yields each item with the times of the next message after it."""
    waiting: list[_Item] = []
    for item in items:
        if item.lost is None:
            while waiting:
                yield waiting.pop(0), item.times
        waiting.append(item)
    for item in waiting:
        yield item, None


def _placed(items: Iterator[_Item], clock: BagClock) -> Iterator[tuple[_Item, int]]:
    """Yields each item with its time; what is lost has none."""
    for item, following in _pairs(items):
        yield item, 0 if item.lost is not None else clock.place(item.times, following)


def _stamp(data: bytes) -> int | None:
    """The header stamp of a serialized message, which is the first of its fields."""
    if len(data) < 12:
        return None
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def _unpacked(message: StoredMessage) -> StoredMessage:
    """Decompresses a message that was compressed by itself; one that is damaged stays as it is."""
    if not message.data.startswith(ZSTD_MAGIC):
        return message
    try:
        return StoredMessage(message.topic, message.bag_ns, decompressed(message.data, 'zstd'))
    except ValueError:
        return message


def _message_types(path: Path) -> Any:
    """What reads serialized messages."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MediaError(
            f'cannot read the bag {path}', f'{error}', remedy(error, 'rosbags')
        ) from error
    return get_typestore(Stores.ROS2_JAZZY)


def _chosen_topic(path: Path, topics: list[StoredTopic], wanted: str, count: Any) -> str:
    images = {topic.name for topic in topics if topic.type in IMAGE_TYPES}
    if wanted in images or (not wanted and len(images) == 1):
        return wanted or next(iter(images))
    types = {topic.name: topic.type for topic in topics}
    counts = ((name, count(name)) for name in sorted(images))
    listed = ', '.join(
        name if found is None else f'{name} ({found} images)' for name, found in counts
    )
    others = ', '.join(sorted({topic.type for topic in topics})) or 'no topic at all'
    why = f'its image topics: {listed}' if images else f'it has {others}'
    if wanted:
        known = f', which carries {types[wanted]}' if wanted in types else ''
        raise MediaError(
            f'{path} has no image topic {wanted}{known}',
            why,
            'Choose one with --topic NAME' if images else '',
        )
    raise MediaError(
        f'{path} has {len(images)} image topics',
        why,
        'Choose one with --topic NAME' if images else f'Only {", ".join(IMAGE_TYPES)} are read',
    )
