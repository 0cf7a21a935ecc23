# SPDX-License-Identifier: Apache-2.0
"""The record node: it takes what a penguin node publishes, finds its cameras, and hands everything
to the writer. Everything here runs on the executor's thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from penguin_msgs.msg import Answer, Caption, Event, ModelInfo, RuleStates, Status
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from penguin_ros.errors import ImageError
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.overlay.arrangement import TextStyle
from penguin_ros.recording.definitions import ANNOTATIONS, Definitions
from penguin_ros.recording.frame_header import frame_header
from penguin_ros.recording.frame_notes import CaptionSpan, FrameNotes
from penguin_ros.recording.writer import Recorded, RecordingWriter
from penguin_ros.ros.conversions.overlay_messages import caption_shown, rules_shown
from penguin_ros.ros.conversions.parameters import NumbersAsDeclared
from penguin_ros.ros.conversions.topics import AUTO
from penguin_ros.ros.conversions.topics import COMPRESSED as COMPRESSED_TOPIC
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.record_node.parameters import (
    COMPRESSED,
    NONE,
    RecordParameters,
    record_parameters,
)
from penguin_ros.ros.record_node.subscriptions import PICTURE_DEPTH, Subscriptions
from penguin_ros.text import cleaned

NODE_NAME = 'recorder'
PERIOD_S = 1.0
LATCHED = (Event, RuleStates, Status, ModelInfo)


class RecordNode(NumbersAsDeclared, Node):
    """Records from its making to `close`.

    SettingError, RecordingExists, LibraryUnusable or SystemRefusal when it cannot begin.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(NODE_NAME, **node_arguments)
        self.guard = CallbackGuard(self.get_logger())
        self.parameters: RecordParameters = record_parameters(self)
        config = self.parameters.config
        definitions = Definitions(lambda package: Path(get_package_share_directory(package)))
        self._notes = FrameNotes(
            definitions, TextStyle(), round(config.note.wait * NANOSECONDS), self._put_note
        )
        self._writer = RecordingWriter(self.parameters.folder, definitions, config.queue.max_bytes)
        self._has_failed = False
        self._cameras: dict[str, str] = {}
        self._ruled: set[str] = set()
        self._unreadable = 0
        self._heard = Subscriptions(self, self.guard, definitions.require)
        self._heard.want(self.parameters.topics, self._put)
        for kind, topic in (
            (Status, 'status'),
            (ModelInfo, 'model_info'),
            (Caption, 'caption'),
            (Answer, 'answer'),
            (Event, 'event'),
            (RuleStates, 'rule_states'),
        ):
            name = f'{self.parameters.node}/{topic}'
            self._heard.open(kind, name, self._put_own(kind), kind in LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(PERIOD_S, self.guard.wrap(self._tick), clock=steady)
        self.get_logger().info(f'records {self.parameters.node} in {self.parameters.folder}')

    def close(self) -> None:
        """Writes what waits and the index; to be called before the context goes."""
        self._notes.flush()
        is_whole = self._writer.close()
        self._tell_failure()
        counts = sum(self._writer.counts.values())
        drops = sum(self._writer.drops.values())
        self.get_logger().info(
            f'{counts} messages in {self.parameters.folder}'
            + (f', {drops} dropped' if drops else '')
            + ('' if is_whole else '; the disk was too slow for the last ones')
        )

    # --- what is heard ----------------------------------------------------------------------------

    def _put(self, topic: str, kind: str, content: bytes) -> None:
        is_latched = topic in self._heard.latched
        message = Recorded(topic, kind, self._now_ns(), content, is_latched=is_latched)
        self._writer.put(message)

    def _put_own(self, kind: type) -> Any:
        """Returns what takes a topic of the penguin node: it is recorded, and looked at here."""
        look = {
            Caption: self._on_caption,
            RuleStates: self._on_rule_states,
            Status: self._on_status,
        }.get(kind)

        def take(topic: str, name: str, content: bytes) -> None:
            self._put(topic, name, content)
            if look is not None:
                look(deserialize_message(content, kind))

        return take

    def _on_status(self, message: Status) -> None:
        wanted = self.parameters.config.picture.transport
        for camera in message.cameras:
            if wanted == NONE or camera.transport == AUTO or not camera.topic:
                continue
            topic = camera.topic
            if wanted == COMPRESSED and camera.transport != COMPRESSED_TOPIC:
                topic = f'{topic}/{COMPRESSED_TOPIC}'
            if topic not in self._cameras:
                self._cameras[topic] = camera.name
                self._heard.want([topic], self._put_picture, PICTURE_DEPTH)
                self._heard.look()

    def _put_picture(self, topic: str, kind: str, content: bytes) -> None:
        now_ns = self._now_ns()
        is_kept = self._writer.put(Recorded(topic, kind, now_ns, content, is_picture=True))
        if not is_kept or not self.parameters.config.note.enabled:
            return
        try:
            frame = frame_header(content, is_compressed=kind.endswith('CompressedImage'))
        except ImageError:
            self._unreadable += 1
            return
        self._notes.take_frame(self._cameras[topic], frame, now_ns)

    def _on_caption(self, message: Caption) -> None:
        start_ns = to_nanoseconds(message.evidence.start)
        self._notes.take_caption(message.camera, CaptionSpan(caption_shown(message), start_ns))

    def _on_rule_states(self, message: RuleStates) -> None:
        cameras = {state.camera for state in message.states}
        for camera in cameras | self._ruled:  # those too that have no rule any more
            self._notes.take_rules(camera, rules_shown(message, camera))
        self._ruled = cameras

    def _put_note(self, camera: str, log_ns: int, content: bytes) -> None:
        topic = f'{self.parameters.overlay}/{camera}/annotations'
        self._writer.put(Recorded(topic, ANNOTATIONS, log_ns, content))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # --- once per second --------------------------------------------------------------------------

    def _tick(self) -> None:
        self._heard.look()
        if self._ruled and not self.count_publishers(f'{self.parameters.node}/status'):
            self._on_rule_states(RuleStates())  # an alarm that nobody takes back is none
        self._tell_failure()
        self._diagnostics.publish(self._diagnosis())

    def _tell_failure(self) -> None:
        failure = self._writer.failure
        if failure is not None and not self._has_failed:
            self._has_failed = True
            self.get_logger().error(f'the recording has ended: {failure}')

    def _diagnosis(self) -> DiagnosticArray:
        writer, failure = self._writer, self._writer.failure
        drops = {f'dropped: {cause}': count for cause, count in writer.drops.items()}
        level, text = DiagnosticStatus.OK, f'records in {writer.folder}'
        if failure is not None:
            level, text = DiagnosticStatus.ERROR, f'the recording has ended: {failure}'
        elif drops or self.guard.faults:
            level, text = DiagnosticStatus.WARN, f'{text}; some messages were dropped'
        values = {
            **writer.counts,
            **drops,
            **{f'refused: {topic}': why for topic, why in self._heard.refused.items()},
            'not published': ', '.join(self._heard.missing),
            'pictures without a readable header': self._unreadable,
            'bytes that wait': writer.waiting_bytes,
            **self.guard.faults,
        }
        entry = DiagnosticStatus(
            name=f'{self.get_fully_qualified_name()}: recording',
            level=level,
            message=cleaned(text),
            values=[KeyValue(key=key, value=cleaned(str(value))) for key, value in values.items()],
        )
        told = DiagnosticArray(status=[entry])
        told.header.stamp = self.get_clock().now().to_msg()
        return told
