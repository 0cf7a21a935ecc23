# SPDX-License-Identifier: Apache-2.0
"""Judges how a camera is doing: what becomes of its images to the end, and why none comes when none
does.

The verdict follows from facts that `camera_input` collects. It names the cause and, where there is
one, what to do. A camera is OK only where a question about its present would be answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.camera_input.observation import CameraObservation
from penguin_ros.ros.camera_input.silence import clash, names, segment_advice, silence
from penguin_ros.ros.camera_input.stats import WINDOW_NS, Refusals
from penguin_ros.ros.conversions.topics import AUTO

REJECTS_IN_ROW = 3
REFUSED_PERCENT = 10
"""From this share of messages on that could not be used, there is a warning."""
LOSS_PERCENT = 5
ASSUMED_RATE_HZ = 30.0
"""Of a publisher whose rate is not known: on Humble none is."""
FROZEN_NS = 30 * NANOSECONDS
PAUSED_PERCENT = 10
"""ROS time that runs at less than this share of real time stands still."""
UNHURRIED = ('slow', 'still')
"""Causes of a stale camera that does what it should, only more slowly than the settings ask for."""
_TAI_S = (36.0, 38.0)
_LONGEST_UPTIME_NS = 10 * 365 * 86400 * NANOSECONDS


class CameraState(IntEnum):
    """How a camera is doing; the numbers are those of penguin_msgs/CameraStatus."""

    WAITING = 0
    OK = 1
    STALE = 2
    REJECTED = 3


@dataclass(frozen=True)
class CameraHealth:
    """The verdict on one camera.

    `cause` is one word for its state and `reason` the whole sentence; both are empty when it is OK.
    `warnings` are sentences on what is wrong while frames arrive, by such a word, `notes` those on
    what may be as it should. `age_ns` is ROS time now minus the newest stamp, None before the first
    frame. `publish_rate_hz` is 0 when unknown. `received` messages are `used` ones and `drops`, by
    cause; `lost` counts what the middleware lost in transport.
    """

    camera: str
    topic: str
    transport: str
    state: CameraState
    cause: str = ''
    reason: str = ''
    warnings: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    rate_hz: float = 0.0
    publish_rate_hz: float = 0.0
    age_ns: int | None = None
    received: int = 0
    used: int = 0
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
        warnings=_warnings(facts, state),
        notes=_notes(facts, state),
        rate_hz=stats.rate_hz(facts.now_ns),
        publish_rate_hz=stats.publish_rate_hz(),
        age_ns=age_ns,
        received=stats.received,
        used=stats.used,
        drops=dict(stats.drops),
        zero_stamps=stats.zero_stamps,
        lost=stats.lost,
        publishers=tuple(publisher.node for publisher in facts.on_topic),
    )


def _verdict(facts: CameraObservation) -> tuple[CameraState, str, str]:
    stats = facts.stats
    age_ns = stats.age_ns(facts.ros_now_ns)
    is_fresh = age_ns is not None and age_ns <= facts.stale_after_ns
    refusals = stats.refusals(facts.now_ns)
    if facts.is_arriving and refusals.refused:
        if refusals.in_row >= (REJECTS_IN_ROW if is_fresh else 1) or refusals.are_most:
            return CameraState.REJECTED, refusals.cause, _refused(facts, refusals)
    if is_fresh:
        return CameraState.OK, '', ''
    silent_ns = facts.silent_ns
    if silent_ns is None:
        cause, reason = silence(facts)
        return CameraState.WAITING, cause, f'waiting for {facts.topic}: {reason}'
    if age_ns is None:
        return CameraState.STALE, 'clock_jump', 'ROS time has jumped, and no frame has come since'
    skew_ns = stats.skew_ns()
    if facts.is_arriving and skew_ns is not None and skew_ns > facts.stale_after_ns:
        return CameraState.STALE, 'clock_skew', _skew(facts, skew_ns)
    if facts.is_arriving and facts.is_slow:
        return CameraState.STALE, 'slow', _slow(facts)
    cause, reason = silence(facts)
    seconds = silent_ns / NANOSECONDS
    return CameraState.STALE, cause, f'no frame of {facts.topic} for {seconds:.0f} s: {reason}'


def _refused(facts: CameraObservation, refusals: Refusals) -> str:
    """Returns how many images could not be used, and why."""
    count = f'the last {refusals.in_row} images'
    if refusals.in_row < REJECTS_IN_ROW and refusals.in_row < refusals.total:
        count = f'{refusals.refused} of the last {refusals.total} images'
    reason = facts.stats.last_reasons.get(refusals.cause, refusals.cause)
    return f'{count} could not be used ({refusals.cause}): {reason}'


def _slow(facts: CameraObservation) -> str:
    interval_s = (facts.stats.interval_ns() or 0) / NANOSECONDS
    source = f'an image of {facts.topic} comes every {interval_s:.1f} s'
    if facts.sample_period_ns > facts.stale_after_ns:
        source += ', as clip.fps asks for'
    return (
        f'{source}, and frames of the present may be {facts.stale_after_ns / NANOSECONDS:g} s old: '
        f'questions in between are refused; set watch.stale_after to {math.ceil(2 * interval_s)} s'
    )


def _skew(facts: CameraObservation, skew_ns: int) -> str:
    """Returns by how much the clocks differ, and what that looks like."""
    seconds = abs(skew_ns) / NANOSECONDS
    stamp_ns = facts.stats.newest_stamp_ns or 0
    side = 'ahead of' if skew_ns < 0 else 'behind'
    text = (
        f"stamps are {seconds:.1f} s {side} this node's clock: the clocks differ, or use_sim_time "
        'does'
    )
    if skew_ns < 0 and _TAI_S[0] < seconds < _TAI_S[1]:
        return f'{text}. PTP gives TAI, which is 37 s ahead of UTC'
    if skew_ns > 0 and stamp_ns < _LONGEST_UPTIME_NS < facts.ros_now_ns:
        return f'{text}. These stamps count from the start of the camera or its machine'
    if skew_ns > 0:
        return f'{text}. A recording is played with `ros2 bag play --clock` and use_sim_time'
    return text


def _warnings(facts: CameraObservation, state: CameraState) -> dict[str, str]:
    """Returns what is wrong although frames arrive, as sentences by a word for each."""
    on_topic = facts.on_topic
    warnings: dict[str, str] = {}
    if len(on_topic) > 1:
        warnings['publishers'] = f'{len(on_topic)} publishers on {facts.topic}: {names(on_topic)}'
    if state is not CameraState.OK:
        return warnings
    clashing = [publisher for publisher in on_topic if publisher.clash]
    if clashing:
        warnings['qos'] = clash(clashing[0], facts)
    refusals = facts.stats.refusals(facts.now_ns)
    if refusals.refused > 1 and 100 * refusals.refused >= REFUSED_PERCENT * refusals.total:
        warnings[f'refused_{refusals.cause}'] = _refused(facts, refusals)
    warnings.update(_losses(facts))
    warnings.update(_clock_warnings(facts))
    if facts.pixels.dark_level is not None:
        warnings['dark'] = (
            f'no sample of its 16-bit images exceeds {facts.pixels.dark_level} of 65535, so that '
            'they are nearly black: set buffer.white_level, to 4095 for a camera of 12 bit'
        )
    return warnings


def _clock_warnings(facts: CameraObservation) -> dict[str, str]:
    """Returns what is wrong with times."""
    warnings: dict[str, str] = {}
    zero_ns = facts.stats.last_zero_stamp_ns
    if zero_ns is not None and facts.now_ns - zero_ns <= max(WINDOW_NS, facts.stale_after_ns):
        warnings['zero_stamp'] = (
            f'{facts.stats.zero_stamps} frames carried no stamp; their time of receipt is used'
        )
    skew_ns = facts.stats.skew_ns()
    if skew_ns is not None and not -facts.future_tolerance_ns <= skew_ns <= facts.stale_after_ns:
        warnings['clock_skew'] = _skew(facts, skew_ns)
    silent_ns = facts.silent_ns or 0
    passed_ns = facts.ros_now_ns - facts.stats.newest_ros_ns
    if silent_ns > facts.stale_after_ns and 100 * passed_ns < PAUSED_PERCENT * silent_ns:
        warnings['paused'] = (
            f'no frame for {silent_ns / NANOSECONDS:.0f} s, and ROS time stands still as well: '
            '/clock is paused'
        )
    elif facts.is_slow:
        warnings['slow'] = _slow(facts)
    return warnings


def _notes(facts: CameraObservation, state: CameraState) -> dict[str, str]:
    if state is not CameraState.OK or facts.pixels.frozen_ns < FROZEN_NS:
        return {}
    seconds = facts.pixels.frozen_ns / NANOSECONDS
    text = (
        f'its images have been the same to the last byte for {seconds:.0f} s: a still scene of a '
        'simulation, or a camera that hangs'
    )
    return {'frozen': text}


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
    return {'transport': text + segment_advice(facts)}
