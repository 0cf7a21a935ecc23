# SPDX-License-Identifier: Apache-2.0
"""How the node is doing at one moment, as values, and the Status message of it. Knows no publishers
and no timers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from penguin_msgs.msg import CameraStatus, ModelInfo, Status

from penguin_ros.clip_buffer import BufferStatus
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError
from penguin_ros.pipeline_status import ModelDescription, PipelineStatus
from penguin_ros.ros.camera_input.health import CameraHealth
from penguin_ros.ros.conversions.error_codes import error_code, error_message
from penguin_ros.ros.conversions.times import duration_message
from penguin_ros.text import cleaned

INACTIVE_CAUSE = 'the node is not active'


@dataclass(frozen=True)
class CameraSnapshot:
    """One configured camera; `health` is None while the node is not active, `buffer` while no model
    is loaded.
    """

    name: str
    topic: str
    transport: str
    health: CameraHealth | None
    buffer: BufferStatus | None


@dataclass(frozen=True)
class TextStats:
    """What became of questions and captions at the node's entries, and how long the last ones took,
    in nanoseconds.
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
    """`pipeline` is None while no model is loaded or being loaded; `loading` is the last line of
    progress, `load_failure` why the last configure failed; `faults` counts exceptions of callbacks;
    `warnings` are sentences about the node as a whole.
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


def status_message(snapshot: NodeSnapshot) -> Status:
    """For `~/status`."""
    pipeline, texts = snapshot.pipeline, snapshot.texts
    last_error = snapshot.load_failure or (pipeline.last_error if pipeline is not None else None)
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
        last_error_message=cleaned(error_message(last_error)),
        mean_caption_latency=duration_message(_mean(texts.caption_ns)),
        mean_answer_latency=duration_message(_mean(texts.answer_ns)),
        mean_first_token_latency=duration_message(_mean(texts.first_token_ns)),
    )
    message.header.stamp = snapshot.stamp
    if pipeline is not None:
        counts = pipeline.counts
        message.questions_queued = counts.questions_waiting + counts.questions_running
        message.captions_replaced, message.captions_dropped = (
            counts.captions_replaced,
            counts.captions_dropped,
        )
        message.captions_unchanged = sum(window.unchanged for window in pipeline.windows.values())
    return message


def _camera_message(camera: CameraSnapshot) -> CameraStatus:
    message = CameraStatus(
        name=camera.name, topic=camera.topic, transport=camera.transport, cause=INACTIVE_CAUSE
    )
    if camera.health is not None:
        message.topic, message.transport = camera.health.topic, camera.health.transport
        message.state, message.cause = int(camera.health.state), cleaned(camera.health.reason)
        message.rate_hz, message.age = (
            camera.health.rate_hz,
            duration_message(camera.health.age_ns or 0),
        )
    if camera.buffer is not None:
        message.frames_received, message.frames_buffered = (
            camera.buffer.received,
            camera.buffer.frames,
        )
        message.bytes_buffered = camera.buffer.bytes
        message.drop_causes, message.drop_counts = (
            list(camera.buffer.dropped),
            list(camera.buffer.dropped.values()),
        )
    return message


def model_info_message(facts: ModelDescription, max_visual_tokens: int) -> ModelInfo:
    """For `~/model_info`."""
    return ModelInfo(
        name=cleaned(facts.name),
        digest=facts.digest,
        source=cleaned(facts.source),
        backend=facts.backend,
        device=facts.device,
        precision=facts.precision,
        max_length=facts.max_length,
        vocabulary_size=facts.vocabulary_size,
        language_parameters=facts.language_parameters,
        vision_parameters=facts.vision_parameters,
        weight_bytes=facts.weight_bytes,
        max_visual_tokens=max_visual_tokens,
        load_duration=duration_message(facts.load_ns),
    )


def _mean(durations_ns: Iterable[int]) -> int:
    values = [value for value in durations_ns if value > 0]
    return sum(values) // len(values) if values else 0
