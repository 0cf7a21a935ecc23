# SPDX-License-Identifier: Apache-2.0
"""The state of the node at one moment as values, and the messages Status and ModelInfo of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from penguin_msgs.msg import CameraStatus, ModelInfo, Status

from penguin_ros.clip_buffer import BufferStatus
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.pipeline_status import ModelDescription, PipelineStatus, RemoteStatus
from penguin_ros.ros.camera_input.health import CameraHealth
from penguin_ros.ros.conversions.error_codes import error_code, error_message
from penguin_ros.ros.conversions.times import duration_message
from penguin_ros.ros.node.rule_diagnostics import RulesSnapshot
from penguin_ros.text import cleaned

INACTIVE_CAUSE = 'the node is not active'


@dataclass(frozen=True)
class CameraSnapshot:
    """One configured camera.

    `health` is None while the node is not active, `buffer` while no model is loaded.
    """

    name: str
    topic: str
    transport: str
    health: CameraHealth | None
    buffer: BufferStatus | None


@dataclass(frozen=True)
class TextStats:
    """What became of questions and captions, and how long the last ones took.

    `answered`, `refused` and `failed` count questions. Times are from receipt to the complete text,
    or to the first token.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    captions_published: int = 0
    answer_ns: tuple[int, ...] = ()
    caption_ns: tuple[int, ...] = ()
    first_token_ns: tuple[int, ...] = ()


@dataclass(frozen=True)
class NodeSnapshot:
    """The whole node at one moment.

    `pipeline` is None while no model is loaded or being loaded. `loading` is the last line of
    progress, `load_failure` says why the last configure failed. `faults` counts exceptions of
    callbacks by place and type, `warnings` are sentences about the node's surroundings.
    """

    name: str
    stamp: Time
    lifecycle_state: str
    config: PenguinConfig
    steady_ns: int
    cameras: tuple[CameraSnapshot, ...] = ()
    pipeline: PipelineStatus | None = None
    texts: TextStats = TextStats()
    loading: str = ''
    load_failure: PenguinError | None = None
    faults: Mapping[str, int] = field(default_factory=dict)
    last_fault: str = ''
    warnings: tuple[str, ...] = ()
    rules: RulesSnapshot = RulesSnapshot()


def status_message(snapshot: NodeSnapshot) -> Status:
    """Returns the message for `~/status`."""
    pipeline = snapshot.pipeline
    texts = snapshot.texts
    last_error, age = _last_error(snapshot)
    message = Status(
        lifecycle_state=snapshot.lifecycle_state,
        is_model_loaded=pipeline is not None and pipeline.model is not None,
        is_captioning_enabled=snapshot.config.caption.enabled,
        cameras=[_camera_message(camera) for camera in snapshot.cameras],
        questions_answered=texts.answered,
        questions_refused=texts.refused,
        questions_failed=texts.failed,
        captions_published=texts.captions_published,
        last_error_code=error_code(last_error),
        last_error_message=cleaned(error_message(last_error)) + age,
        mean_caption_latency=duration_message(_mean(texts.caption_ns)),
        mean_answer_latency=duration_message(_mean(texts.answer_ns)),
        mean_first_token_latency=duration_message(_mean(texts.first_token_ns)),
    )
    message.header.stamp = snapshot.stamp
    if pipeline is not None:
        counts = pipeline.counts
        message.questions_queued = counts.questions_waiting + counts.questions_running
        message.captions_replaced = counts.captions_replaced
        message.captions_dropped = counts.captions_dropped
        message.captions_unchanged = sum(window.unchanged for window in pipeline.windows.values())
    return message


def _last_error(snapshot: NodeSnapshot) -> tuple[PenguinError | None, str]:
    """Returns why the last configure failed, or else the error of the last request that failed with
    the time since then: all may be well again.
    """
    pipeline = snapshot.pipeline
    if snapshot.load_failure is not None or pipeline is None or pipeline.last_error is None:
        return snapshot.load_failure, ''
    if pipeline.last_error_ns is None:
        return pipeline.last_error, ''
    seconds = max(0, snapshot.steady_ns - pipeline.last_error_ns) / NANOSECONDS
    return pipeline.last_error, f' ({seconds:.0f} s ago)'


def _camera_message(camera: CameraSnapshot) -> CameraStatus:
    message = CameraStatus(
        name=camera.name, topic=camera.topic, transport=camera.transport, cause=INACTIVE_CAUSE
    )
    if camera.health is not None:
        message.topic = camera.health.topic
        message.transport = camera.health.transport
        message.state = int(camera.health.state)
        message.cause = cleaned(camera.health.reason)
        message.rate_hz = camera.health.rate_hz
        message.age = duration_message(camera.health.age_ns or 0)
    if camera.buffer is not None:
        message.frames_received = camera.buffer.received
        message.frames_buffered = camera.buffer.frames
        message.bytes_buffered = camera.buffer.bytes
        message.drop_causes = list(camera.buffer.dropped)
        message.drop_counts = list(camera.buffer.dropped.values())
    return message


def model_info_message(
    model: ModelDescription, max_visual_tokens: int, remote: RemoteStatus | None = None
) -> ModelInfo:
    """Returns the message for `~/model_info`."""
    endpoints = remote.endpoints if remote is not None else ()
    return ModelInfo(
        name=cleaned(model.name),
        digest=model.digest,
        source=cleaned(model.source),
        backend=model.backend,
        device=model.device,
        precision=model.precision,
        max_length=model.max_length,
        vocabulary_size=model.vocabulary_size,
        language_parameters=model.language_parameters,
        vision_parameters=model.vision_parameters,
        weight_bytes=model.weight_bytes,
        max_visual_tokens=max_visual_tokens,
        load_duration=duration_message(model.load_ns),
        endpoints=[each.name for each in endpoints],
        endpoint_dialects=[each.dialect for each in endpoints],
        endpoint_models=[cleaned(each.model) for each in endpoints],
    )


def _mean(durations_ns: Iterable[int]) -> int:
    """Returns the mean of the durations above 0; 0 when there are none."""
    values = [value for value in durations_ns if value > 0]
    return sum(values) // len(values) if values else 0
