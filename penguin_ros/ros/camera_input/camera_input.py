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

from penguin_ros.clip_buffer import Admission
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import ImageError, UndefinedColours
from penguin_ros.frame import NANOSECONDS, Frame, to_nanoseconds
from penguin_ros.frame_sampling import LiveSampler
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.camera_input.discovery import (
    Heard,
    TransportChoice,
    image_topics,
    publishers,
)
from penguin_ros.ros.camera_input.health import (
    UNHURRIED,
    CameraHealth,
    CameraState,
    camera_health,
)
from penguin_ros.ros.camera_input.observation import CameraObservation, Publisher
from penguin_ros.ros.camera_input.pixel_watch import PixelWatch
from penguin_ros.ros.camera_input.sampling_gate import SamplingGate
from penguin_ros.ros.camera_input.stats import CameraStats
from penguin_ros.ros.camera_input.subscription_qos import are_latched, subscription_qos
from penguin_ros.ros.conversions.topics import (
    AUTO,
    COMPRESSED,
    RAW,
    TYPES,
    CameraSetting,
    transport_topics,
)
from penguin_ros.ros.process.bounded_log import BoundedLog
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.distribution import is_humble

CHECK_SECONDS = 0.5
QUIET_NS = 2 * NANOSECONDS
"""Discovery takes a moment: for this long after the start, a camera that waits is not logged."""

_MESSAGES = {RAW: Image, COMPRESSED: CompressedImage}


@dataclass(frozen=True)
class FrameSinks:
    """Where frames go, and what is told about them; all are called on the executor's thread.

    `on_frame` returns what became of the frame; `on_drop` is given the cause, one word; `on_reason`
    the sentence on what is wrong with the camera, '' when it is OK.
    """

    on_frame: Callable[[Frame], Admission]
    on_drop: Callable[[str], None]
    on_reason: Callable[[str], None] = lambda reason: None


class CameraInput:
    """Between `start` and `stop`, frames of one camera at the rate `clip.fps` go to the sinks.

    An image that cannot be used is dropped and counted under its ImageError's cause, or under the
    cause for which the sink does not take it. An exception in a callback is counted under
    'exception', and `guard` reports it. Nothing is queued here: the middleware holds the newest
    frame.
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
        self._is_latched = False
        self._logged: set[object] = set()
        self._log = BoundedLog(node.get_logger())
        self._stats = CameraStats()
        self._pixels = PixelWatch()
        self._since_ns = time.monotonic_ns()

    def start(self) -> None:
        """Subscribes; all counts restart."""
        if self._is_running:
            return
        self._is_running = True
        self._stats = CameraStats()
        self._pixels = PixelWatch()
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

    def forget_clock(self) -> None:
        """Forgets what was based on ROS time, after it has jumped."""
        self._stats.forget_clock()

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
                stale_after_ns=round(watch.stale_after * NANOSECONDS),
                future_tolerance_ns=round(watch.future_tolerance * NANOSECONDS),
                sample_period_ns=round(NANOSECONDS / self._config.clip.fps),
                pixels=self._pixels.facts(),
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
        topic = self._topics[self._choice.current]
        qos = subscription_qos(
            self._node, str(self._node.resolve_topic_name(topic)), self._is_latched
        )
        return self._node.create_subscription(
            _MESSAGES[self._choice.current],
            topic,
            self._guard.wrap(callback),
            qos.profile,
            callback_group=self._gate,
            qos_overriding_options=qos.options,
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
            admission = self._sinks.on_frame(frame)
            if admission:
                is_new = admission.is_new_stream
                self._stats.note_frame(now_ns, frame.stamp_ns, self._ros_ns(), is_new)
                self._pixels.look(message, frame, now_ns)
            else:  # the sink has counted it
                reason = self._not_admitted(admission.cause, frame)
                self._stats.note_drop(now_ns, admission.cause, reason)
        except ImageError as error:
            self._drop(now_ns, error.cause, str(error), isinstance(error, UndefinedColours))
        except Exception as error:
            self._drop(now_ns, 'exception', f'{type(error).__name__}: {error}')
            raise

    def _not_admitted(self, cause: str, frame: Frame) -> str:
        """Returns the sentence for a frame that the sink did not take."""
        newest_ns = self._stats.newest_stamp_ns or frame.stamp_ns
        seconds = abs(frame.stamp_ns - newest_ns) / NANOSECONDS
        return {
            'duplicate': f'the stamp {frame.stamp_ns / NANOSECONDS:.3f} s was there already; each '
            'image needs the time of its own exposure, and a driver that stamps all alike does not '
            'give it',
            'late': f'its stamp lies {seconds:.1f} s before the newest one: images come out of '
            'order, or from several publishers whose clocks differ',
            'wild': f'its stamp lies {seconds:.1f} s ahead of those before it',
            'too_large': 'it alone is larger than buffer.max_bytes',
        }.get(cause, f'it was not taken: {cause}')

    def _frame(self, message: Any) -> Frame:
        image = message_to_rgb(message, self._config.buffer)
        stamp_ns = to_nanoseconds(message.header.stamp)
        if stamp_ns <= 0:
            self._stats.note_zero_stamp(time.monotonic_ns())
            stamp_ns = self._ros_ns()
        return Frame(stamp_ns, image, self._camera.name, message.header.frame_id)

    def _drop(self, now_ns: int, cause: str, reason: str, is_undefined: bool = False) -> None:
        self._stats.note_drop(now_ns, cause, reason, is_undefined)
        self._sinks.on_drop(cause)

    def _ros_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    # --- the graph --------------------------------------------------------------------------------

    def _check(self) -> None:
        """Looks who publishes, changes the transport when that is better, and logs what changed."""
        found = self._find_publishers()
        self._follow_type(found)
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
        before = self._choice.current, self._is_latched, self._resolved(self._choice.current)
        current = self._choice.choose(usable, self._heard(), time.monotonic_ns())
        topic = self._resolved(current)
        self._is_latched = are_latched(self._publishers, topic, TYPES[current])
        if (current, self._is_latched, topic) != before:
            self._resubscribe()
        health = self.health()
        self._sinks.on_reason(health.reason)
        self._log_changes(health)

    def _heard(self) -> Heard:
        stats = self._stats
        return Heard(
            stats.last_arrival_ns,
            stats.last_frame_ns,
            stats.has_undefined_colours,
            stats.lost_lately(time.monotonic_ns()) > 0,
        )

    def _resubscribe(self) -> None:
        self._node.destroy_subscription(self._subscription)
        self._clash_event = ''
        self._subscribe()

    def _follow_type(self, found: dict[str, list[Publisher]]) -> None:
        """Takes the given topic itself as the compressed one where compressed images come on it."""
        given, compressed = self._topics[RAW], self._topics[COMPRESSED]
        if given == compressed or COMPRESSED not in found or found[COMPRESSED]:
            return
        of_given = self._publishers_of(given)
        if of_given and all(publisher.type == TYPES[COMPRESSED] for publisher in of_given):
            self._topics[COMPRESSED] = given
            found[COMPRESSED] = of_given
            found.pop(RAW, None)
            if self._choice.current == COMPRESSED:
                self._resubscribe()

    def _find_publishers(self) -> dict[str, list[Publisher]]:
        """Returns the publishers on the topic of each transport that may be used."""
        is_auto = self._camera.transport == AUTO
        transports = (RAW, COMPRESSED) if is_auto else (self._choice.current,)
        found = {
            transport: self._publishers_of(self._topics[transport]) for transport in transports
        }
        if self._topics[RAW] == self._topics[COMPRESSED]:  # see _follow_type
            found.pop(RAW, None)
        return found

    def _publishers_of(self, topic: str) -> list[Publisher]:
        resolved = str(self._node.resolve_topic_name(topic))
        return publishers(self._node, resolved, self._subscription.qos_profile)

    def _resolved(self, transport: str) -> str:
        return str(self._node.resolve_topic_name(self._topics[transport]))

    def _log_changes(self, health: CameraHealth) -> None:
        """Logs one line per change of state and per new warning."""
        if health.state is CameraState.WAITING and time.monotonic_ns() - self._since_ns < QUIET_NS:
            return
        state = (health.state, health.cause, health.topic)
        if health.cause in UNHURRIED:  # it comes and goes with each image
            state = (CameraState.OK, '', health.topic)
        name = f'camera {self._camera.name}'
        if state not in self._logged:
            if health.state is CameraState.OK:
                self._log.info(state, f'{name}: frames arrive on {health.topic}')
            elif health.cause not in UNHURRIED:
                self._log.warning(state, f'{name}: {health.reason}')
        told = {**health.warnings, **health.notes}
        if health.cause in UNHURRIED:
            told[health.cause] = health.reason
        for cause in told.keys() - self._logged:
            self._log.warning(cause, f'{name}: {told[cause]}')
        self._logged = {state, *told}


def _message_bytes(message: Any) -> int:
    return int(message.height * message.step) if hasattr(message, 'step') else len(message.data)
