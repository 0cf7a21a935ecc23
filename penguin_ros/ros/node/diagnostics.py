# SPDX-License-Identifier: Apache-2.0
"""Publishes `/diagnostics` and `~/status` once per second of a steady clock.

Each camera, the model, the queue, the node as a whole, each remote engine and each rule have an
entry, which judges a snapshot of values. The steady clock keeps them coming when images or /clock
stop. Everything runs on the executor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from penguin_msgs.msg import Status
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.clip_buffer import BufferStatus
from penguin_ros.frame import NANOSECONDS
from penguin_ros.pipeline_status import PipelineStatus
from penguin_ros.ros.camera_input.health import UNHURRIED, CameraHealth, CameraState
from penguin_ros.ros.conversions.error_codes import error_message
from penguin_ros.ros.node.captions import LATCHED_QOS
from penguin_ros.ros.node.lifecycle_advice import to_reload, without_model
from penguin_ros.ros.node.remote_diagnostics import remote_findings
from penguin_ros.ros.node.rule_diagnostics import Finding, rule_findings
from penguin_ros.ros.node.snapshot import (
    INACTIVE_CAUSE,
    CameraSnapshot,
    NodeSnapshot,
    status_message,
)
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.scheduler.job import WorkerState
from penguin_ros.text import cleaned

PERIOD_S = 1.0
HEARTBEAT_LIMIT_NS = 5 * NANOSECONDS  # an idle worker shows life twice per second

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR

_CAMERA_LEVELS = {
    CameraState.OK: OK,
    CameraState.WAITING: WARN,
    CameraState.STALE: ERROR,
    CameraState.REJECTED: ERROR,
}
_MISCONFIGURED = ('qos', 'wrong_type')  # causes that waiting does not mend


class Diagnostics:
    """Publishes what `snapshot` returns, by a timer and when `publish` is called."""

    def __init__(
        self, node: Node, guard: CallbackGuard, snapshot: Callable[[], NodeSnapshot]
    ) -> None:
        self._snapshot = snapshot
        # By convention this one topic is global, so that one aggregator sees all nodes.
        self._diagnostics = node.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        self._status = node.create_publisher(Status, '~/status', LATCHED_QOS)
        node.create_timer(
            PERIOD_S,
            guard.wrap(self.publish),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def publish(self) -> None:
        """Publishes the state as it is now."""
        snapshot = self._snapshot()
        self._status.publish(status_message(snapshot))
        self._diagnostics.publish(diagnostic_array(snapshot))


def diagnostic_array(snapshot: NodeSnapshot) -> DiagnosticArray:
    """Returns all entries; their names begin with the node's."""
    message = DiagnosticArray(
        status=[
            *(_camera(snapshot, camera) for camera in snapshot.cameras),
            _model(snapshot),
            _queue(snapshot),
            _node(snapshot),
            *(
                _entry(snapshot, found.task, found.level, found.text, found.values)
                for found in (*_remote(snapshot), *rule_findings(snapshot.rules))
            ),
        ]
    )
    message.header.stamp = snapshot.stamp
    return message


def _remote(snapshot: NodeSnapshot) -> Iterable[Finding]:
    pipeline, config = snapshot.pipeline, snapshot.config
    if pipeline is None:
        return ()
    has_model = bool(config.model.bundle or config.model.checkpoint)
    engines = config.question.engine, config.caption.engine
    return remote_findings(pipeline.remote, has_model and 'remote' not in engines)


def _entry(
    snapshot: NodeSnapshot, task: str, level: bytes, text: str, values: Mapping[str, Any]
) -> DiagnosticStatus:
    model = snapshot.pipeline.model if snapshot.pipeline is not None else None
    return DiagnosticStatus(
        name=f'{snapshot.name}: {task}',
        level=level,
        message=cleaned(text),
        hardware_id=model.device if model is not None else '',
        values=[KeyValue(key=key, value=cleaned(str(value))) for key, value in values.items()],
    )


# --- cameras --------------------------------------------------------------------------------------


def _camera(snapshot: NodeSnapshot, camera: CameraSnapshot) -> DiagnosticStatus:
    values: dict[str, Any] = {'topic': camera.topic, 'transport': camera.transport}
    if camera.buffer is not None:
        values |= _buffer_values(camera.buffer)
    if snapshot.pipeline is not None:
        values |= _window_values(snapshot.pipeline, camera.name)
    task = f'camera {camera.name}'
    if camera.health is None:
        return _entry(snapshot, task, OK, INACTIVE_CAUSE, values)
    values |= _health_values(camera.health)
    level, text = _camera_verdict(camera.health)
    short = _short_memory(snapshot, camera.buffer)
    if short:
        level, text = max(level, WARN), f'{text}; {short}'
    return _entry(snapshot, task, level, text, values)


def _short_memory(snapshot: NodeSnapshot, buffer: BufferStatus | None) -> str:
    """Returns a sentence when the byte cap keeps less than half a clip of a camera's past."""
    config = snapshot.config
    if buffer is None or not buffer.dropped.get('bytes'):
        return ''
    kept_s = buffer.span_ns / NANOSECONDS
    if kept_s >= config.clip.seconds / 2 or 2 * buffer.bytes < config.buffer.max_bytes:
        return ''
    return (
        f'buffer.max_bytes keeps {buffer.frames} frames, {kept_s:.1f} s of the '
        f'{config.clip.seconds:g} s of a clip: raise it, or lower buffer.max_frame_pixels'
    )


def _camera_verdict(health: CameraHealth) -> tuple[bytes, str]:
    warnings = '; '.join(health.warnings.values())
    text = '; '.join(filter(None, (health.reason, warnings))) or 'frames arrive'
    if health.notes:
        text = '; note: '.join([text, *health.notes.values()])
    if health.cause in _MISCONFIGURED:
        return ERROR, text
    if health.cause in UNHURRIED:
        return WARN, text
    return max(_CAMERA_LEVELS[health.state], WARN if warnings else OK), text


def _buffer_values(buffer: BufferStatus) -> dict[str, Any]:
    return {
        'frames': buffer.received,
        'buffered frames': buffer.frames,
        'buffered bytes': buffer.bytes,
        'expired frames': buffer.expired,
        'frames stamped in the future': buffer.skewed,
        'changes of the image size': buffer.size_changes,
        **{f'dropped: {cause}': count for cause, count in buffer.dropped.items()},
    }


def _window_values(pipeline: PipelineStatus, camera: str) -> dict[str, Any]:
    window = pipeline.windows.get(camera)
    if window is None:
        return {}
    return {
        'frames in the window': window.frames,
        'frames taken': window.taken,
        'frames skipped': window.skipped,
        'restarts of the clip': window.restarts,
        'captions unchanged': window.unchanged,
        'captions repeated': window.repeated,
    }


def _health_values(health: CameraHealth) -> dict[str, Any]:
    age = '' if health.age_ns is None else f'{health.age_ns / NANOSECONDS:.3f}'
    return {
        'topic': health.topic,
        'transport': health.transport,
        'cause': health.cause,
        'rate [Hz]': f'{health.rate_hz:.2f}',
        'rate of the publisher [Hz]': f'{health.publish_rate_hz:.2f}',
        'age of the newest frame [s]': age,
        'frames without a stamp': health.zero_stamps,
        'lost in transport': health.lost,
        'messages received': health.received,
        'messages used': health.used,
        **{f'refused: {cause}': count for cause, count in health.drops.items()},
        'publishers': ' '.join(health.publishers),
    }


# --- the model ------------------------------------------------------------------------------------


def _model(snapshot: NodeSnapshot) -> DiagnosticStatus:
    pipeline = snapshot.pipeline
    values: dict[str, Any] = {'lifecycle state': snapshot.lifecycle_state}
    if pipeline is not None and pipeline.model is not None:
        model = pipeline.model
        values |= {
            'model': model.name,
            'digest': model.digest,
            'backend': model.backend,
            'device': model.device,
            'way': model.way,
            'precision': model.precision,
            'weight bytes': model.weight_bytes,
            'KV slots': model.slots,
            'last answers [s]': _seconds(snapshot.texts.answer_ns),
            'last captions [s]': _seconds(snapshot.texts.caption_ns),
            **_cache_values(pipeline),
            **pipeline.backend.counts,
        }
    level, text = _model_verdict(snapshot)
    return _entry(snapshot, 'model', level, text, values)


def _cache_values(pipeline: PipelineStatus) -> dict[str, Any]:
    encoder = pipeline.caches.encoder_cache
    prefix = pipeline.caches.prefix_cache
    return {
        'encoder cache hits': encoder.hits,
        'encoder cache misses': encoder.misses,
        'encoder cache evictions': encoder.evicted,
        'encoder cache frames': encoder.frames,
        'encoder cache bytes': encoder.bytes,
        'encoder cache limit [bytes]': encoder.max_bytes,
        'encoded frames': encoder.encoded,
        'prefix cache hits [tokens]': prefix.reused,
        'prefix cache misses [tokens]': prefix.computed,
        'prompts that continued a kept KV slot': prefix.continued,
        'prompts that copied a prefix': prefix.forked,
        'prompts that began in an empty KV slot': prefix.fresh,
        'kept KV slots': prefix.kept_slots,
        'kept KV slots [tokens]': prefix.kept_positions,
        'superseded KV slots': prefix.superseded,
        'evicted KV slots': prefix.evicted,
        'dropped KV slots': prefix.dropped,
    }


def _model_verdict(snapshot: NodeSnapshot) -> tuple[bytes, str]:
    if snapshot.load_failure is not None:
        return ERROR, error_message(snapshot.load_failure)
    if snapshot.pipeline is None:
        return WARN, str(without_model(snapshot.name, snapshot.lifecycle_state))
    worker, state = snapshot.pipeline.worker, snapshot.lifecycle_state
    if worker.state is WorkerState.OPENING:
        return WARN, f'loading: {snapshot.loading}'
    if worker.failure is not None:
        return ERROR, f'the worker has ended: {worker.failure}. {to_reload(snapshot.name, state)}'
    if worker.step_ns > snapshot.config.watch.step_limit * NANOSECONDS:
        seconds = f'{worker.step_ns / NANOSECONDS:.0f} s'
        return ERROR, f'the model hangs: one step has taken {seconds} so far. Restart the node'
    is_idle = worker.state is WorkerState.SERVING and not worker.step_ns
    if is_idle and snapshot.steady_ns - worker.heartbeat_ns > HEARTBEAT_LIMIT_NS:
        return ERROR, 'the worker shows no sign of life. Restart the node'
    if snapshot.pipeline.backend.slowdown:
        return WARN, snapshot.pipeline.backend.slowdown
    return OK, f'{snapshot.lifecycle_state}, model loaded'


# --- the queue and the node -----------------------------------------------------------------------


def _queue(snapshot: NodeSnapshot) -> DiagnosticStatus:
    texts = snapshot.texts
    values: dict[str, Any] = {
        'questions answered': texts.answered,
        'questions refused': texts.refused,
        'questions failed': texts.failed,
        'captions published': texts.captions_published,
    }
    if snapshot.pipeline is None:
        return _entry(snapshot, 'queue', OK, 'no model is loaded', values)
    counts = snapshot.pipeline.counts
    # Finished and failed questions are counted above as the clients see them.
    values |= {
        name.replace('_', ' '): count
        for name, count in vars(counts).items()
        if name not in ('questions_finished', 'questions_failed')
    }
    length = snapshot.config.question.queue_length
    level = WARN if counts.questions_waiting >= length else OK
    text = f'{counts.questions_waiting} of {length} places for questions taken'
    return _entry(snapshot, 'queue', level, text, values)


def _node(snapshot: NodeSnapshot) -> DiagnosticStatus:
    faults = sum(snapshot.faults.values())
    failures = snapshot.pipeline.callback_failures if snapshot.pipeline is not None else 0
    texts = [*snapshot.warnings]
    if faults:
        texts.insert(
            0,
            f'{faults} exceptions in callbacks, the last: {snapshot.last_fault}; '
            'the log has the traceback',
        )
    level = ERROR if faults or failures else WARN if snapshot.warnings else OK
    values = {**snapshot.faults, 'callback failures': failures}
    return _entry(snapshot, 'node', level, '; '.join(texts) or 'nothing to report', values)


def _seconds(durations_ns: tuple[int, ...]) -> str:
    return ' '.join(f'{duration / NANOSECONDS:.2f}' for duration in durations_ns[-5:])
