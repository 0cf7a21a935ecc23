# SPDX-License-Identifier: Apache-2.0
"""The input of one configured camera: it subscribes, takes a frame when one is wanted, converts it,
and can say why none comes.

Everything runs on the executor's thread, and no exception leaves a callback.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import ImageError
from penguin_ros.frame import NANOSECONDS, Frame, to_nanoseconds
from penguin_ros.frame_sampling import LiveSampler
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.camera_input.discovery import TransportChoice, image_topics, publishers
from penguin_ros.ros.camera_input.health import (
    CameraHealth,
    CameraObservation,
    CameraState,
    Publisher,
    camera_health,
)
from penguin_ros.ros.camera_input.sampling_gate import SamplingGate
from penguin_ros.ros.camera_input.stats import CameraStats
from penguin_ros.ros.conversions.qos_overrides import overriding_options
from penguin_ros.ros.conversions.topics import (
    AUTO,
    COMPRESSED,
    RAW,
    TYPES,
    CameraSetting,
    newest_frame_qos,
    transport_topics,
)
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.distribution import is_humble

CHECK_SECONDS = 0.5
QUIET_NS = 2 * NANOSECONDS
"""Discovery takes a moment: for this long after the start, a camera that waits is not logged."""

_MESSAGES = {RAW: Image, COMPRESSED: CompressedImage}


@dataclass(frozen=True)
class FrameSinks:
    """Where frames go; both are called on the executor's thread.

    `on_drop` is given the cause, one word.
    """

    on_frame: Callable[[Frame], None]
    on_drop: Callable[[str], None]


class CameraInput:
    """Between `start` and `stop`, frames of one camera at the rate `clip.fps` go to the sinks.

    An image that cannot be used is dropped and counted under its ImageError's cause. An exception
    in a callback is counted under 'exception', and `guard` reports it. Nothing is queued here: the
    middleware holds the newest frame.
    """

    def __init__(
        self,
        node: Node,
        camera: CameraSetting,
        config: PenguinConfig,
        guard: CallbackGuard,
        sinks: FrameSinks,
    ) -> None:
        self._node = node
        self._camera = camera
        self._config = config
        self._guard = guard
        self._sinks = sinks
        self._topics = transport_topics(node, camera.topic)
        self._is_running = False
        self._publishers: tuple[Publisher, ...] = ()
        self._image_topics: tuple[str, ...] = ()
        self._clash_event = ''
        self._logged: set[object] = set()
        self._stats = CameraStats()
        self._since_ns = time.monotonic_ns()

    def start(self) -> None:
        """Subscribes; all counts restart."""
        if self._is_running:
            return
        self._is_running = True
        self._stats = CameraStats()
        self._since_ns = time.monotonic_ns()
        self._choice = TransportChoice(self._camera.transport, self._since_ns)
        self._gate = SamplingGate(
            self._node, LiveSampler(self._config.clip.fps, time.monotonic_ns, self._ros_ns)
        )
        self._subscribe()
        self._check_timer = self._node.create_timer(
            CHECK_SECONDS,
            self._guard.wrap(self._check),
            callback_group=self._gate,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def stop(self) -> None:
        """Unsubscribes; no sink is called afterwards."""
        if not self._is_running:
            return
        self._is_running = False
        self._node.destroy_timer(self._check_timer)
        self._node.destroy_subscription(self._subscription)
        self._gate.destroy()

    def configure(self, config: PenguinConfig) -> None:
        """Applies changed settings from the next frame on."""
        is_new_rate = config.clip.fps != self._config.clip.fps
        self._config = config
        if self._is_running and is_new_rate:
            self._gate.set_rate(config.clip.fps)

    def health(self) -> CameraHealth:
        """Returns how the camera is doing now."""
        transport = self._choice.current if self._is_running else self._camera.transport
        requested = RAW if transport == AUTO else transport
        watch = self._config.watch
        # Between two samples silence means nothing.
        stale_s = max(watch.stale_after, 2 / self._config.clip.fps)
        return camera_health(
            CameraObservation(
                camera=self._camera.name,
                transport=transport,
                topic=self._resolved(requested),
                type=TYPES[requested],
                is_auto=self._camera.transport == AUTO,
                publishers=self._publishers,
                clash_event=self._clash_event,
                image_topics=self._image_topics,
                stats=self._stats,
                now_ns=time.monotonic_ns(),
                since_ns=self._since_ns,
                ros_now_ns=self._ros_ns(),
                stale_after_ns=round(stale_s * NANOSECONDS),
                future_tolerance_ns=round(watch.future_tolerance * NANOSECONDS),
            )
        )

    # --- subscription -----------------------------------------------------------------------------

    def _subscribe(self) -> None:
        try:
            self._subscription = self._subscription_with(
                {'message_lost': self._guard.wrap(self._on_lost)}
            )
        except UnsupportedEventTypeError:  # this middleware cannot tell what it lost
            self._subscription = self._subscription_with({})

    def _subscription_with(self, events: dict[str, Any]) -> Subscription:
        callback = self._on_bare_message if is_humble() else self._on_message
        return self._node.create_subscription(
            _MESSAGES[self._choice.current],
            self._topics[self._choice.current],
            self._guard.wrap(callback),
            newest_frame_qos(),
            callback_group=self._gate,
            qos_overriding_options=overriding_options(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._guard.wrap(self._on_clash), **events
            ),
        )

    def _on_clash(self, event: Any) -> None:
        self._clash_event = qos_policy_name_from_kind(event.last_policy_kind)

    def _on_lost(self, event: Any) -> None:
        self._stats.note_lost(time.monotonic_ns(), event.total_count_change)

    # --- frames -----------------------------------------------------------------------------------

    def _on_bare_message(self, message: Any) -> None:
        self._on_message(message, {})  # rclpy of Humble gives no facts with a message

    def _on_message(self, message: Any, facts: Any) -> None:
        if not self._is_running:
            return
        self._gate.close_until_due()
        now_ns = time.monotonic_ns()
        try:
            self._stats.note_arrival(
                now_ns, _message_bytes(message), facts.get('publication_sequence_number')
            )
            frame = self._frame(message)
            self._sinks.on_frame(frame)
            self._stats.note_frame(now_ns, frame.stamp_ns)
        except ImageError as error:
            self._drop(error.cause, str(error))
        except Exception as error:
            self._drop('exception', f'{type(error).__name__}: {error}')
            raise

    def _frame(self, message: Any) -> Frame:
        image = message_to_rgb(message, self._config.buffer)
        stamp_ns = to_nanoseconds(message.header.stamp)
        if stamp_ns <= 0:
            self._stats.note_zero_stamp(time.monotonic_ns())
            stamp_ns = self._ros_ns()
        return Frame(stamp_ns, image, self._camera.name, message.header.frame_id)

    def _drop(self, cause: str, reason: str) -> None:
        self._stats.note_drop(cause, reason)
        self._sinks.on_drop(cause)

    def _ros_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    # --- the graph --------------------------------------------------------------------------------

    def _check(self) -> None:
        """Looks who publishes, changes the transport when that is better, and logs what changed."""
        found = self._find_publishers()
        self._publishers = tuple(
            publisher for of_transport in found.values() for publisher in of_transport
        )
        self._image_topics = () if self._publishers else tuple(image_topics(self._node))
        usable = {
            transport
            for transport, of_transport in found.items()
            if any(
                publisher.type == TYPES[transport] and not publisher.clash
                for publisher in of_transport
            )
        }
        before = self._choice.current
        if self._choice.choose(usable, self._stats.last_frame_ns, time.monotonic_ns()) != before:
            self._node.destroy_subscription(self._subscription)
            self._clash_event = ''
            self._subscribe()
        self._log_changes(self.health())

    def _find_publishers(self) -> dict[str, list[Publisher]]:
        """Returns the publishers on the topic of each transport that may be used."""
        is_auto = self._camera.transport == AUTO
        transports = (RAW, COMPRESSED) if is_auto else (self._choice.current,)
        qos = self._subscription.qos_profile
        return {
            transport: publishers(self._node, self._resolved(transport), qos)
            for transport in transports
        }

    def _resolved(self, transport: str) -> str:
        return str(self._node.resolve_topic_name(self._topics[transport]))

    def _log_changes(self, health: CameraHealth) -> None:
        """Logs one line per change of state and per new warning."""
        if health.state is CameraState.WAITING and time.monotonic_ns() - self._since_ns < QUIET_NS:
            return
        state = (health.state, health.cause, health.topic)
        logger = self._node.get_logger()
        name = f'camera {self._camera.name}'
        if state not in self._logged:
            if health.state is CameraState.OK:
                logger.info(f'{name}: frames arrive on {health.topic}')
            else:
                logger.warning(f'{name}: {health.reason}')
        for cause in health.warnings.keys() - self._logged:
            logger.warning(f'{name}: {health.warnings[cause]}')
        self._logged = {state, *health.warnings}


def _message_bytes(message: Any) -> int:
    return int(message.height * message.step) if hasattr(message, 'step') else len(message.data)
