# SPDX-License-Identifier: Apache-2.0
"""Reads /tf and /tf_static: through tf2_ros where it can be imported, else by a reader of our own.

Either way a pose is asked for by any thread and never waited for. Our own reader takes messages out
of the middleware when its timer comes round, not one by one as they arrive: a robot publishes
hundreds of transforms in a second, and a callback for each would cost more than all else that the
node does.
"""

from __future__ import annotations

from typing import Any, Protocol

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.transform_tree import FramePose, PoseUnknown, Transform, TransformTree

TF, TF_STATIC = '/tf', '/tf_static'
TF2_ROS, OWN, NONE = 'tf2_ros', 'own', 'none'
READ_PERIOD_S = 0.25
TF_DEPTH = 2000
"""What may arrive in between without loss: 8000 messages in a second."""
STATIC_DEPTH = 200


class Transforms(Protocol):
    """A source of poses; `reader` is TF2_ROS, OWN or NONE, `state` a sentence for diagnostics."""

    reader: str

    @property
    def state(self) -> str:
        """What it has read so far, in words; '' when all is well."""

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        """Returns where `source` was in `target`; PoseUnknown where that cannot be told."""

    def clear(self) -> None:
        """Forgets what was, since time has jumped; on the executor's thread."""

    def values(self) -> dict[str, Any]:
        """Returns counts for diagnostics."""


def open_transforms(node: Node, guard: CallbackGuard, keep_seconds: float) -> Transforms:
    """Returns the best reader that can be had here; it subscribes at once."""
    try:
        return Tf2Transforms(node, keep_seconds)
    except ImportError:
        pass
    try:
        return OwnTransforms(node, guard, keep_seconds)
    except ImportError as error:
        return NoTransforms(str(error))


class NoTransforms:
    """Stands where /tf cannot be read, or is not wanted."""

    reader = NONE

    def __init__(self, why: str) -> None:
        self._why = why

    @property
    def state(self) -> str:
        """Why there are no poses."""
        return self._why

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        """Always raises PoseUnknown."""
        raise PoseUnknown('/tf cannot be read', self._why, cause='no reader')

    def clear(self) -> None:
        """Does nothing."""

    def values(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}


class _Apart(ReentrantCallbackGroup):
    """A group whose subscriptions no executor waits for."""

    def can_execute(self, entity: Any) -> bool:
        """Always says no."""
        return False


class OwnTransforms:
    """Reads tf2_msgs/TFMessage into a TransformTree; ImportError without that message."""

    reader = OWN

    def __init__(self, node: Node, guard: CallbackGuard, keep_seconds: float) -> None:
        from tf2_msgs.msg import TFMessage

        self.tree = TransformTree(keep_seconds)
        self._messages = 0
        apart = _Apart()
        static_qos = QoSProfile(depth=STATIC_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            (
                node.create_subscription(TFMessage, topic, _unused, qos, callback_group=apart),
                is_static,
            )
            for topic, qos, is_static in (
                (TF_STATIC, static_qos, True),
                (TF, QoSProfile(depth=TF_DEPTH), False),
            )
        ]
        node.create_timer(
            READ_PERIOD_S,
            guard.wrap(self.read),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def read(self) -> None:
        """Takes what has arrived, on the executor's thread."""
        for subscription, is_static in self._subscriptions:
            for message in _taken(subscription):
                self._messages += 1
                for each in message.transforms:
                    self.tree.add(_transform(each), is_static)

    @property
    def state(self) -> str:
        """Says so when nothing has come."""
        return '' if self._messages else f'nothing has arrived on {TF} or {TF_STATIC}'

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        """Returns where `source` was in `target`; any thread."""
        return self.tree.pose(target, source, stamp_ns)

    def clear(self) -> None:
        """Forgets transforms that are not static."""
        self.tree.clear()

    def values(self) -> dict[str, Any]:
        """Returns what was read and refused."""
        counts = {f'transforms {cause}': count for cause, count in self.tree.counts.items()}
        return {'messages of /tf': self._messages, 'frames': len(self.tree.frames), **counts}


class Tf2Transforms:
    """Asks the buffer of tf2_ros; ImportError without it.

    tf2 does not go beyond the newest transform; within its buffer it tells no age, so that only a
    pose from beyond has one.
    """

    reader = TF2_ROS

    def __init__(self, node: Node, keep_seconds: float) -> None:
        import tf2_ros
        from rclpy.duration import Duration
        from rclpy.time import Time

        self._time = Time
        self._error = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(
            cache_time=Duration(nanoseconds=round(keep_seconds * NANOSECONDS))
        )
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    @property
    def state(self) -> str:
        """Says so when nothing has come."""
        return '' if self._buffer.all_frames_as_yaml() else f'nothing has arrived on {TF}'

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        """Returns where `source` was in `target`, or where it was last, with its age."""
        target, source = target.lstrip('/'), source.lstrip('/')
        asked_ns = stamp_ns
        try:
            newest = self._buffer.get_latest_common_time(target, source)
            newest_ns = int(newest.nanoseconds)
            if newest_ns:  # zero: all transforms between them are static
                asked_ns = min(stamp_ns, newest_ns)
            found = self._buffer.lookup_transform(target, source, self._time(nanoseconds=asked_ns))
        except self._error as error:
            raise PoseUnknown(
                f'tf2 does not know where {source!r} was in {target!r}', str(error), cause='tf2'
            ) from error
        at = found.transform
        return FramePose(
            target,
            (at.translation.x, at.translation.y, at.translation.z),
            (at.rotation.x, at.rotation.y, at.rotation.z, at.rotation.w),
            stamp_ns - asked_ns,
            asked_ns < stamp_ns,
        )

    def clear(self) -> None:
        """Forgets everything; tf2 keeps static transforms."""
        self._buffer.clear()

    def values(self) -> dict[str, Any]:
        """Returns nothing: tf2 keeps no counts."""
        return {}


def _unused(message: Any) -> None:
    """Is no subscription's callback ever, since `read` takes the messages; rclpy wants a function
    with a signature, which no builtin has in Python 3.10.
    """


def _taken(subscription: Subscription) -> list[Any]:
    """Returns the messages that the middleware holds for a subscription."""
    taken: list[Any] = []
    with subscription.handle:
        while len(taken) < TF_DEPTH:
            item = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if item is None:
                break
            taken.append(item[0])
    return taken


def _transform(message: Any) -> Transform:
    at = message.transform
    return Transform(
        to_nanoseconds(message.header.stamp),
        message.header.frame_id,
        message.child_frame_id,
        (at.translation.x, at.translation.y, at.translation.z),
        (at.rotation.x, at.rotation.y, at.rotation.z, at.rotation.w),
    )
