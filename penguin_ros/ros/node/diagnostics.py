# SPDX-License-Identifier: Apache-2.0
"""`/diagnostics` and `~/status`, once per second of a steady clock: one entry per camera, for the
model, the queue and the node.

Judges a snapshot of values, not how they come about. The steady clock keeps it going when images or
/clock stop. Runs on the executor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from penguin_msgs.msg import Status
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.frame import NANOSECONDS
from penguin_ros.pipeline_status import PipelineStatus
from penguin_ros.ros.camera_input.health import CameraState
from penguin_ros.ros.conversions.error_codes import error_message
from penguin_ros.ros.node.captions import LATCHED_QOS
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

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_CAMERA_LEVELS = {
    CameraState.OK: OK,
    CameraState.WAITING: WARN,
    CameraState.STALE: ERROR,
    CameraState.REJECTED: ERROR,
}
_MISCONFIGURED = ('qos', 'wrong_type')  # causes that no waiting will mend


class Diagnostics:
    """Publishes what `snapshot` gives."""

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
        """Now, besides once per second."""
        snapshot = self._snapshot()
        self._status.publish(status_message(snapshot))
        self._diagnostics.publish(diagnostic_array(snapshot))


def diagnostic_array(snapshot: NodeSnapshot) -> DiagnosticArray:
    """All entries; names begin with the node's."""
    message = DiagnosticArray(
        status=[
            *(_camera(snapshot, camera) for camera in snapshot.cameras),
            _model(snapshot),
            _queue(snapshot),
            _node(snapshot),
        ]
    )
    message.header.stamp = snapshot.stamp
    return message


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


def _camera(snapshot: NodeSnapshot, camera: CameraSnapshot) -> DiagnosticStatus:
    health, buffer = camera.health, camera.buffer
    task = f'camera {camera.name}'
    values: dict[str, Any] = {'topic': camera.topic, 'transport': camera.transport}
    if buffer is not None:
        values |= {
            'frames': buffer.received,
            'buffered frames': buffer.frames,
            'buffered bytes': buffer.bytes,
            'expired frames': buffer.expired,
            'frames stamped in the future': buffer.skewed,
            'changes of the image size': buffer.size_changes,
            **{f'dropped: {cause}': count for cause, count in buffer.dropped.items()},
        }
    window = snapshot.pipeline.windows.get(camera.name) if snapshot.pipeline is not None else None
    if window is not None:
        values |= {
            'frames in the window': window.frames,
            'frames taken': window.taken,
            'frames skipped': window.skipped,
            'restarts of the clip': window.restarts,
            'captions unchanged': window.unchanged,
            'captions repeated': window.repeated,
        }
    if health is None:
        return _entry(snapshot, task, OK, INACTIVE_CAUSE, values)
    values |= {
        'topic': health.topic,
        'transport': health.transport,
        'cause': health.cause,
        'rate [Hz]': f'{health.rate_hz:.2f}',
        'rate of the publisher [Hz]': f'{health.publish_rate_hz:.2f}',
        'age of the newest frame [s]': ''
        if health.age_ns is None
        else f'{health.age_ns / NANOSECONDS:.3f}',
        'lost in transport': health.lost,
        'publishers': ' '.join(health.publishers),
    }
    warnings = '; '.join(health.warnings.values())
    level = (
        ERROR
        if health.cause in _MISCONFIGURED
        else max(_CAMERA_LEVELS[health.state], WARN if warnings else OK)
    )
    return _entry(
        snapshot,
        task,
        level,
        '; '.join(filter(None, (health.reason, warnings))) or 'frames arrive',
        values,
    )


def _model(snapshot: NodeSnapshot) -> DiagnosticStatus:
    pipeline = snapshot.pipeline
    values: dict[str, Any] = {'lifecycle state': snapshot.lifecycle_state}
    if pipeline is not None and pipeline.model is not None:
        model, texts = pipeline.model, snapshot.texts
        values |= {
            'model': model.name,
            'digest': model.digest,
            'backend': model.backend,
            'device': model.device,
            'precision': model.precision,
            'weight bytes': model.weight_bytes,
            'last answers [s]': _seconds(texts.answer_ns),
            'last captions [s]': _seconds(texts.caption_ns),
            **_caches(pipeline),
            **pipeline.backend.counts,
        }
    level, text = _model_verdict(snapshot)
    return _entry(snapshot, 'model', level, text, values)


def _caches(pipeline: PipelineStatus) -> dict[str, Any]:
    encoder, prefix = pipeline.caches.encoder_cache, pipeline.caches.prefix_cache
    return {
        'reused prompt tokens': prefix.reused,
        'computed prompt tokens': prefix.computed,
        'prompts in a kept KV slot': prefix.continued,
        'prompts in a copied KV slot': prefix.forked,
        'prompts in an empty KV slot': prefix.fresh,
        'kept KV slots': prefix.kept_slots,
        'superseded KV slots': prefix.superseded,
        'evicted KV slots': prefix.evicted,
        'distrusted KV slots': prefix.dropped,
        'reused features': encoder.hits,
        'missed features': encoder.misses,
        'encoded frames': encoder.encoded,
        'encoder cache bytes': encoder.bytes,
        'evicted features': encoder.evicted,
    }


def _model_verdict(snapshot: NodeSnapshot) -> tuple[bytes, str]:
    if snapshot.load_failure is not None:
        return ERROR, error_message(snapshot.load_failure)
    if snapshot.pipeline is None:
        return WARN, 'no model is loaded: configure the node'
    worker = snapshot.pipeline.worker
    if worker.state is WorkerState.OPENING:
        return WARN, f'loading: {snapshot.loading}'
    if worker.failure is not None:
        return (
            ERROR,
            f'the worker has ended: {worker.failure}. Clean up and configure the node again',
        )
    if worker.step_ns > snapshot.config.watch.step_limit * NANOSECONDS:
        return (
            ERROR,
            f'the model hangs: one step has taken {worker.step_ns / NANOSECONDS:.0f} s so far. Restart the node',
        )
    is_idle = worker.state is WorkerState.SERVING and not worker.step_ns
    if is_idle and snapshot.steady_ns - worker.heartbeat_ns > HEARTBEAT_LIMIT_NS:
        return ERROR, 'the worker shows no sign of life. Restart the node'
    if snapshot.pipeline.backend.slowdown:
        return WARN, snapshot.pipeline.backend.slowdown
    return OK, f'{snapshot.lifecycle_state}, model loaded'


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
    counts, length = snapshot.pipeline.counts, snapshot.config.question.queue_length
    values |= {
        name.replace('_', ' '): value
        for name, value in vars(counts).items()
        if not name.startswith('questions_f')
    }
    text = f'{counts.questions_waiting} of {length} places for questions taken'
    return _entry(
        snapshot, 'queue', WARN if counts.questions_waiting >= length else OK, text, values
    )


def _node(snapshot: NodeSnapshot) -> DiagnosticStatus:
    faults = sum(snapshot.faults.values())
    failures = snapshot.pipeline.callback_failures if snapshot.pipeline is not None else 0
    texts = (
        [
            f'{faults} exceptions in callbacks, the last: {snapshot.last_fault}; the log has the traceback'
        ]
        if faults
        else []
    )
    level = ERROR if faults or failures else WARN if snapshot.warnings else OK
    return _entry(
        snapshot,
        'node',
        level,
        '; '.join([*texts, *snapshot.warnings]) or 'nothing to report',
        {**snapshot.faults, 'callback failures': failures},
    )


def _seconds(durations_ns: tuple[int, ...]) -> str:
    return ' '.join(f'{duration / NANOSECONDS:.2f}' for duration in durations_ns[-5:])
