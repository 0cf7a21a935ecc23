# SPDX-License-Identifier: Apache-2.0
"""Judges how a camera is doing, and why no frame arrives when none does.

The verdict follows from facts that `camera_input` collects. It names the cause and, where there is
one, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.camera_input.stats import WINDOW_NS, CameraStats
from penguin_ros.ros.conversions.topics import AUTO, RAW
from penguin_ros.ros.process.image_profile import profile_variables

LARGE_MESSAGE_BYTES = 500_000
"""A larger message does not fit into the 512 KiB of shared memory that Fast DDS has by default."""
REJECTS_IN_ROW = 3
LOSS_PERCENT = 5
ASSUMED_RATE_HZ = 30.0
"""Of a publisher whose rate is not known: on Humble none is."""


class CameraState(IntEnum):
    """How a camera is doing; the numbers are those of penguin_msgs/CameraStatus."""

    WAITING = 0
    OK = 1
    STALE = 2
    REJECTED = 3


@dataclass(frozen=True)
class Publisher:
    """A publisher on one of the camera's topics; `clash` names the QoS policies that keep its
    messages out.
    """

    node: str
    topic: str
    type: str
    clash: tuple[str, ...] = ()


@dataclass(frozen=True)
class CameraObservation:
    """The facts that a verdict is made from.

    `since_ns` is the start of the subscription; it and `now_ns` are times of the steady clock,
    `ros_now_ns` is a time of the node's clock. `clash_event` names the last QoS policy that the
    middleware reported as incompatible.
    """

    camera: str
    transport: str
    topic: str
    type: str
    is_auto: bool
    publishers: tuple[Publisher, ...]
    clash_event: str
    image_topics: tuple[str, ...]
    stats: CameraStats
    now_ns: int
    since_ns: int
    ros_now_ns: int
    stale_after_ns: int
    future_tolerance_ns: int


@dataclass(frozen=True)
class CameraHealth:
    """The verdict on one camera.

    `cause` is one word for its state and `reason` the whole sentence; both are empty when it is OK.
    `warnings` are sentences on what is wrong while frames arrive, by such a word. `age_ns` is ROS
    time now minus the newest stamp, None before the first frame. `publish_rate_hz` is 0 when
    unknown. `drops` counts by cause; `lost` counts what the middleware lost in transport.
    """

    camera: str
    topic: str
    transport: str
    state: CameraState
    cause: str = ''
    reason: str = ''
    warnings: Mapping[str, str] = field(default_factory=dict)
    rate_hz: float = 0.0
    publish_rate_hz: float = 0.0
    age_ns: int | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    zero_stamps: int = 0
    lost: int = 0
    publishers: tuple[str, ...] = ()


def camera_health(facts: CameraObservation) -> CameraHealth:
    """Returns the verdict on these facts."""
    stats = facts.stats
    state, cause, reason = _verdict(facts)
    is_undecided = facts.is_auto and not facts.publishers and stats.last_arrival_ns is None
    age_ns = None if stats.newest_stamp_ns is None else facts.ros_now_ns - stats.newest_stamp_ns
    return CameraHealth(
        camera=facts.camera,
        topic=facts.topic,
        state=state,
        cause=cause,
        reason=reason,
        transport=AUTO if is_undecided else facts.transport,
        warnings=_warnings(facts, state, age_ns),
        rate_hz=stats.rate_hz(facts.now_ns),
        publish_rate_hz=stats.publish_rate_hz(),
        age_ns=age_ns,
        drops=dict(stats.drops),
        zero_stamps=stats.zero_stamps,
        lost=stats.lost,
        publishers=tuple(publisher.node for publisher in _on_topic(facts)),
    )


def _verdict(facts: CameraObservation) -> tuple[CameraState, str, str]:
    stats = facts.stats
    is_fresh = (
        stats.last_frame_ns is not None
        and facts.now_ns - stats.last_frame_ns <= facts.stale_after_ns
    )
    is_arriving = (
        stats.last_arrival_ns is not None
        and facts.now_ns - stats.last_arrival_ns <= facts.stale_after_ns
    )
    if is_arriving and stats.rejected_in_row >= (REJECTS_IN_ROW if is_fresh else 1):
        return (
            CameraState.REJECTED,
            stats.last_reject_cause,
            f'the last {stats.rejected_in_row} images could not be used: {stats.last_reject}',
        )
    if is_fresh:
        return CameraState.OK, '', ''
    cause, reason = _silence(facts)
    if stats.last_frame_ns is None:
        return CameraState.WAITING, cause, f'waiting for {facts.topic}: {reason}'
    seconds = (facts.now_ns - stats.last_frame_ns) / NANOSECONDS
    return CameraState.STALE, cause, f'no frame of {facts.topic} for {seconds:.0f} s: {reason}'


def _silence(facts: CameraObservation) -> tuple[str, str]:
    """Returns why nothing arrives, as a word and a sentence."""
    on_topic = _on_topic(facts)
    if not on_topic:
        return 'no_publisher', 'no publisher' + _other_topics(facts)
    of_type = [publisher for publisher in on_topic if publisher.type == facts.type]
    if not of_type:
        other = on_topic[0]
        return 'wrong_type', f'{other.node} publishes {other.type} there, not {facts.type}'
    matching = [publisher for publisher in of_type if not publisher.clash]
    if not matching:
        return 'qos', _clash(of_type[0], facts)
    names = _names(matching)
    lost = facts.stats.lost_lately(facts.now_ns)
    if lost:
        advice = _segment_advice(facts)
        return 'transport', f'{lost} messages of {names} were lost in transport{advice}'
    return 'silent', _silent_publisher(names, facts)


def _silent_publisher(names: str, facts: CameraObservation) -> str:
    if facts.transport == RAW and facts.stats.message_bytes in range(1, LARGE_MESSAGE_BYTES):
        return f'{names} has a publisher there but publishes nothing'
    silence = f'{names} has a publisher there, but nothing arrives'
    if facts.transport == RAW:
        return f'{silence}: it publishes nothing, or {_segment_fix()}'
    return silence


def _segment_fix() -> str:
    return (
        'raw images over 0.5 MB overflow the default shared memory of Fast DDS unless the process '
        f'of the camera has {" and ".join(profile_variables())} set to config/fastdds_images.xml '
        'of penguin_ros; its compressed topic needs none'
    )


def _on_topic(facts: CameraObservation) -> list[Publisher]:
    return [publisher for publisher in facts.publishers if publisher.topic == facts.topic]


def _clash(publisher: Publisher, facts: CameraObservation) -> str:
    policies = ', '.join(publisher.clash) or facts.clash_event
    return (
        f'incompatible QoS policy {policies}: {publisher.node} offers less than this subscription '
        'asks for; change the publisher, or the parameter '
        f'qos_overrides.{facts.topic}.subscription'
    )


def _other_topics(facts: CameraObservation) -> str:
    if not facts.image_topics:
        return ', and no other topic carries images'
    return ', while images are published on ' + ', '.join(facts.image_topics)


def _segment_advice(facts: CameraObservation) -> str:
    is_large = facts.stats.message_bytes == 0 or facts.stats.message_bytes > LARGE_MESSAGE_BYTES
    slow = 'the network or the machine is too slow for them'
    if facts.transport == RAW and is_large:
        return f': {_segment_fix()}. Where it is set, {slow}'
    return f': {slow}'


def _names(publishers: list[Publisher]) -> str:
    return ' and '.join(sorted(publisher.node for publisher in publishers))


def _warnings(facts: CameraObservation, state: CameraState, age_ns: int | None) -> dict[str, str]:
    """Returns what is wrong although frames arrive, as sentences by a word for each."""
    on_topic = _on_topic(facts)
    warnings: dict[str, str] = {}
    if len(on_topic) > 1:
        warnings['publishers'] = f'{len(on_topic)} publishers on {facts.topic}: {_names(on_topic)}'
    if state is not CameraState.OK:
        return warnings
    clashing = [publisher for publisher in on_topic if publisher.clash]
    if clashing:
        warnings['qos'] = _clash(clashing[0], facts)
    warnings.update(_losses(facts))
    zero_ns = facts.stats.last_zero_stamp_ns
    if zero_ns is not None and facts.now_ns - zero_ns <= max(WINDOW_NS, facts.stale_after_ns):
        warnings['zero_stamp'] = (
            f'{facts.stats.zero_stamps} frames carried no stamp; their time of receipt is used'
        )
    if age_ns is not None and not -facts.future_tolerance_ns <= age_ns <= facts.stale_after_ns:
        side = 'ahead of' if age_ns < 0 else 'behind'
        warnings['clock_skew'] = (
            f"stamps are {abs(age_ns) / NANOSECONDS:.1f} s {side} this node's clock: the clocks "
            'differ, or use_sim_time does'
        )
    return warnings


def _losses(facts: CameraObservation) -> dict[str, str]:
    lost = facts.stats.lost_lately(facts.now_ns)
    rate_hz = facts.stats.publish_rate_hz()
    expected = (rate_hz or ASSUMED_RATE_HZ) * WINDOW_NS / NANOSECONDS
    if lost <= max(1.0, expected * LOSS_PERCENT / 100):
        return {}
    share = f' of about {expected:.0f}' if rate_hz else ''
    text = (
        f'{lost}{share} messages of {facts.topic} were lost in transport within '
        f'{WINDOW_NS // NANOSECONDS} s'
    )
    return {'transport': text + _segment_advice(facts)}
