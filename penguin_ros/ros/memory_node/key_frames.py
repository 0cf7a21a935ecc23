# SPDX-License-Identifier: Apache-2.0
"""Takes pictures of the cameras of penguin nodes, so that the frames which a caption names are
there when it comes.

Which cameras there are, and their topics, is read from the status of the penguin nodes. Frames are
received and converted on the executor's thread, as by the penguin node itself; a thread of their
own makes small JPEGs of them.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from penguin_msgs.msg import Status
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from penguin_ros.clip_buffer import Admission
from penguin_ros.config import PenguinConfig
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.memory.entry import NewEntry
from penguin_ros.picture_buffer import Picture, PictureBuffer, jpeg_picture
from penguin_ros.ros.camera_input.camera_input import CameraInput, FrameSinks
from penguin_ros.ros.conversions.topics import AUTO, TRANSPORTS, CameraSetting
from penguin_ros.ros.memory_node.parameters import PictureConfig
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.settings import with_values

MAX_CAMERAS = 64
MAX_WAITING = 8
"""Frames that wait to become pictures; more are dropped, and counted."""

CameraKey = tuple[str, str]
"""The names of a node and of its camera."""


class KeyFrames:
    """Keeps pictures of the last seconds of all cameras; `counts` by cause.

    Nothing is subscribed to unless pictures are enabled.
    """

    def __init__(
        self,
        node: Node,
        nodes: Sequence[str],
        config: PictureConfig,
        guard: CallbackGuard,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._config = config
        self._guard = guard
        self._report = report
        self._inputs: dict[CameraKey, tuple[CameraInput, CameraSetting]] = {}
        self._buffers: dict[CameraKey, PictureBuffer] = {}
        self._stored_ns: dict[CameraKey, int] = {}
        self._frames: deque[tuple[CameraKey, Frame]] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name='memory pictures', daemon=True)
        if config.enabled:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            group = ReentrantCallbackGroup()
            for name in nodes:
                node.create_subscription(
                    Status,
                    f'{name}/status',
                    guard.wrap(partial(self._on_status, name)),
                    latched,
                    callback_group=group,
                )
            self._thread.start()

    @property
    def size(self) -> tuple[int, int]:
        """How many pictures wait for their caption, and their bytes."""
        sizes = [buffer.size for buffer in list(self._buffers.values())]
        return sum(each[0] for each in sizes), sum(each[1] for each in sizes)

    def picture_for(self, entry: NewEntry) -> Picture | None:
        """Returns the picture of the newest frame of an entry that has one, else the nearest to its
        end; None where there is none, or when none is due. Any one thread.
        """
        if not self._config.enabled:
            return None
        key = entry.node, entry.camera
        last_ns = self._stored_ns.get(key)
        period_ns = round(self._config.period * NANOSECONDS)
        if last_ns is not None and 0 <= entry.end_ns - last_ns < period_ns:
            return None
        buffer = self._buffers.get(key)
        stamps = [*reversed(entry.evidence.get('frames_ns', ()))] or [entry.end_ns]
        tolerance_ns = round(NANOSECONDS / self._config.rate)
        picture = buffer.nearest(stamps, tolerance_ns) if buffer is not None else None
        if picture is None:
            self.counts['entries without a frame at their stamps'] += 1
            return None
        self.counts['pictures of another frame'] += picture.stamp_ns not in stamps
        self._stored_ns[key] = entry.end_ns
        return picture

    def clear(self) -> None:
        """Forgets all frames, since time has jumped; on the executor's thread."""
        for buffer in self._buffers.values():
            buffer.clear()
        self._stored_ns.clear()
        for camera_input, _ in self._inputs.values():
            camera_input.forget_clock()

    def close(self) -> None:
        """Unsubscribes and ends the thread."""
        for camera_input, _ in self._inputs.values():
            camera_input.stop()
        self._inputs.clear()
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _on_status(self, name: str, status: Status) -> None:
        """Follows the cameras of a node: new ones, and those whose topic has changed."""
        for camera in status.cameras:
            transport = camera.transport if camera.transport in TRANSPORTS else AUTO
            topic = camera.topic.removesuffix('/compressed')
            setting = CameraSetting(camera.name, topic, transport)
            key = name, camera.name
            known = self._inputs.get(key)
            if known is not None and known[1].topic == setting.topic:
                continue
            if known is not None:
                known[0].stop()
            elif len(self._inputs) >= MAX_CAMERAS:
                self.counts['cameras left out'] += 1
                continue
            self._inputs[key] = self._started(key, setting), setting

    def _started(self, key: CameraKey, setting: CameraSetting) -> CameraInput:
        self._buffers[key] = PictureBuffer(self._config.keep, self._config.max_bytes)
        sinks = FrameSinks(partial(self._on_frame, key), partial(self._on_drop, key[1]))
        config = with_values(PenguinConfig(), {'clip.fps': self._config.rate})
        camera_input = CameraInput(self._node, setting, config, self._guard, sinks)
        camera_input.start()
        return camera_input

    def _on_frame(self, key: CameraKey, frame: Frame) -> Admission:
        with self._changed:
            if len(self._frames) >= MAX_WAITING:
                self.counts['frames dropped'] += 1
                return Admission('busy')
            self._frames.append((key, frame))
            self._changed.notify()
        return Admission()

    def _on_drop(self, camera: str, cause: str) -> None:
        self.counts[f'frames refused: {cause}'] += 1

    # --- the pictures' thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._frames and not self._is_closing:
                    self._changed.wait()
                if self._is_closing:
                    return
                key, frame = self._frames.popleft()
            try:
                picture = jpeg_picture(
                    frame.stamp_ns, frame.image, self._config.size, self._config.quality
                )
                self._buffers[key].add(picture)
                self.counts['frames taken'] += 1
            except Exception as error:
                self.counts['frames refused: exception'] += 1
                self._report('making a picture', error)
