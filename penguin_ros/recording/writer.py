# SPDX-License-Identifier: Apache-2.0
"""A thread that writes messages into an MCAP file as rosbag2 does, beside its metadata.

What waits is bounded by bytes: pictures go first, texts have room of their own.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguin_ros.errors import PenguinError, SystemRefusal, system_refusal
from penguin_ros.recording.definitions import Definitions

ROOM_FOR_TEXTS = 16_000_000
"""Bytes that pictures leave free for all else."""
CLOSE_S = 30.0
LATCHED_DEPTH = 64


@dataclass(frozen=True)
class Recorded:
    """A serialised message of a topic, `log_ns` being when it was received or is to be seen.

    `is_latched`: its publisher keeps it for those who come later, as `ros2 bag play` then does.
    """

    topic: str
    kind: str
    log_ns: int
    content: bytes
    is_picture: bool = False
    is_latched: bool = False


class RecordingExists(PenguinError):
    """The folder of a new recording is there already."""


class RecordingWriter:
    """Opens the recording when it is made; `put` may be called on any thread.

    `counts` are messages by topic, `drops` by cause; `failure` is what ended the writing, None
    while all is well. RecordingExists, LibraryUnusable or SystemRefusal when it cannot be opened.
    """

    def __init__(self, folder: Path, definitions: Definitions, max_bytes: int) -> None:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.failure: SystemRefusal | None = None
        self._definitions = definitions
        self._max_bytes = max_bytes
        if folder.exists():
            raise RecordingExists(
                f'{folder} is there already', 'a recording is never added to', 'Name another folder'
            )
        # The older form of metadata, which the rosbag2 of each distribution reads.
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        if hasattr(CompressionMode, 'STORAGE'):  # chunks of the file, which every reader knows
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self._writer.open()
        except OSError as error:
            raise system_refusal(error) from error
        self._connections: dict[str, Any] = {}
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[Recorded] = deque()
        self._waiting_bytes = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name='recording', daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be written."""
        return self._waiting_bytes

    def put(self, message: Recorded) -> bool:
        """Takes a message to be written; False when it was dropped, which is counted."""
        room = self._max_bytes - (ROOM_FOR_TEXTS if message.is_picture else 0)
        with self._changed:
            if self.failure is not None or self._is_closing:
                self.drops['the recording has ended'] += 1
                return False
            if self._waiting_bytes + len(message.content) > room:
                self.drops['the disk is slow: ' + message.topic] += 1
                return False
            self._waiting.append(message)
            self._waiting_bytes += len(message.content)
            self._changed.notify()
        return True

    def close(self) -> bool:
        """Writes what waits, the index and the metadata; False when that was not done in time."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (message := self._next()) is not None:
                self._write(message)
            self._writer.close()
        except OSError as error:  # a disk that is full, say
            self.failure = system_refusal(error)
            with self._changed:
                self.drops['the recording has ended'] += len(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0

    def _next(self) -> Recorded | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.content)
            return message

    def _write(self, message: Recorded) -> None:
        connection = self._connections.get(message.topic)
        if connection is None:
            self._definitions.require(message.kind)
            connection = self._writer.add_connection(
                message.topic,
                message.kind,
                typestore=self._definitions.store,
                offered_qos_profiles=[_latched()] if message.is_latched else (),
            )
            self._connections[message.topic] = connection
        self._writer.write(connection, message.log_ns, message.content)
        self.counts[message.topic] += 1


def _latched() -> Any:
    """Returns the quality of service of a latched topic, as rosbag2 stores it."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    never = QosTime(9_223_372_036, 854_775_807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=LATCHED_DEPTH,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL,
        deadline=never,
        lifespan=never,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=never,
        avoid_ros_namespace_conventions=False,
    )
