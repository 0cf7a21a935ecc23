# SPDX-License-Identifier: Apache-2.0
"""The overlay node: it hears what a penguin node says and keeps a board for each of its cameras.

Everything here runs on the executor's thread.
"""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from penguin_msgs.msg import Caption, RuleStates, Status
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from penguin_ros.ros.conversions.overlay_messages import caption_shown, rules_shown
from penguin_ros.ros.conversions.parameters import NumbersAsDeclared
from penguin_ros.ros.conversions.topics import AUTO
from penguin_ros.ros.node.surroundings import NodeWatch, on_clock_jump
from penguin_ros.ros.overlay_node.camera_overlay import CameraOverlay, Surroundings
from penguin_ros.ros.overlay_node.diagnostics import OverlaySnapshot, diagnostic_array
from penguin_ros.ros.overlay_node.drawing import Drawing
from penguin_ros.ros.overlay_node.foreign_messages import FOXGLOVE, RVIZ_2D, foreign_package
from penguin_ros.ros.overlay_node.parameters import OverlayParameters, overlay_parameters
from penguin_ros.ros.process.callback_guard import CallbackGuard

NODE_NAME = 'overlay'
LOOK_S = 0.25
PERIOD_S = 1.0
DEPTH = 100
MAX_CAMERAS = 64


class OverlayNode(NumbersAsDeclared, Node):
    """Draws from its making to `close`; SettingError when a parameter does not fit."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(NODE_NAME, **node_arguments)
        self.guard = CallbackGuard(self.get_logger())
        self.parameters: OverlayParameters = overlay_parameters(self)
        self._cameras: dict[str, CameraOverlay] = {}
        self._left_out: set[str] = set()
        self._drawing = Drawing(self.guard.report)
        self._shared = Surroundings(
            self,
            self.parameters.config,
            self.guard,
            self._drawing,
            foreign_package(FOXGLOVE, 'ImageAnnotations'),
            foreign_package(RVIZ_2D, 'OverlayText'),
        )
        self._watch = NodeWatch(self)
        self._jumps = on_clock_jump(self, self.guard.wrap(self._on_clock_jump))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._subscribe()
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, call in ((LOOK_S, self._look), (PERIOD_S, self._publish)):
            self.create_timer(period_s, self.guard.wrap(call), clock=clock)
        for package in (self._shared.foxglove, self._shared.rviz):
            if package.reason:
                self.get_logger().info(package.reason)

    def close(self) -> None:
        """Ends drawing; to be called before the context goes."""
        for camera in self._cameras.values():
            camera.close()
        self._drawing.close()

    def destroy_node(self) -> None:
        """Destroys also what rclpy does not destroy by itself."""
        self._jumps.unregister()
        super().destroy_node()

    def _subscribe(self) -> None:
        deep = QoSProfile(depth=DEPTH)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for kind, topic, callback, qos in (
            (Status, 'status', self._on_status, latched),
            (Caption, 'last_caption', self._on_caption, latched),
            (Caption, 'caption', self._on_caption, deep),
            (RuleStates, 'rule_states', self._on_rule_states, latched),
        ):
            name = f'{self.parameters.node}/{topic}'
            self.create_subscription(kind, name, self.guard.wrap(callback), qos)

    def _camera(self, name: str) -> CameraOverlay | None:
        """Returns what belongs to a camera, made when it is first heard of."""
        if name not in self._cameras:
            if len(self._cameras) >= MAX_CAMERAS:
                self._left_out.add(name)
                return None
            self._cameras[name] = CameraOverlay(self._shared, name)
        return self._cameras[name]

    def _on_status(self, message: Status) -> None:
        for status in message.cameras:
            camera = self._camera(status.name)
            if camera is not None and status.transport != AUTO:
                camera.follow(status.topic, status.transport)

    def _on_caption(self, message: Caption) -> None:
        camera = self._camera(message.camera)
        if camera is not None:
            camera.board.caption = caption_shown(message)

    def _on_rule_states(self, message: RuleStates) -> None:
        for name, camera in self._cameras.items():
            camera.board.rules = rules_shown(message, name)
        for state in message.states:
            if state.camera not in self._cameras:
                new = self._camera(state.camera)
                if new is not None:
                    new.board.rules = rules_shown(message, state.camera)

    def _on_clock_jump(self, reason: str) -> None:
        for camera in self._cameras.values():
            camera.board.caption = None

    def _look(self) -> None:
        for camera in self._cameras.values():
            camera.look()

    def _publish(self) -> None:
        if not self._is_heard():
            for camera in self._cameras.values():
                camera.board.rules = ()  # an alarm that nobody takes back is none
        now_ns = self.get_clock().now().nanoseconds
        for camera in self._cameras.values():
            camera.publish_text(now_ns)
        self._diagnostics.publish(diagnostic_array(self._snapshot()))

    def _is_heard(self) -> bool:
        return bool(self.count_publishers(f'{self.parameters.node}/status'))

    def _snapshot(self) -> OverlaySnapshot:
        return OverlaySnapshot(
            name=self.get_fully_qualified_name(),
            stamp=self.get_clock().now().to_msg(),
            node=self.parameters.node,
            is_heard=self._is_heard(),
            cameras={name: dict(camera.counts) for name, camera in self._cameras.items()},
            topics={
                name: camera.topic for name, camera in self._cameras.items() if camera.is_subscribed
            },
            left_out=len(self._left_out),
            packages={
                package.name: package.reason or 'used'
                for package in (self._shared.foxglove, self._shared.rviz)
            },
            faults=self.guard.faults,
            last_fault=self.guard.last_fault,
            warnings=self._watch.warnings(),
        )
