# SPDX-License-Identifier: Apache-2.0
"""What the pipeline tells about itself, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.clip_buffer import BufferStatus
from penguin_ros.errors import PenguinError
from penguin_ros.generation.caches import CacheStats
from penguin_ros.remote.line import EndpointStatus
from penguin_ros.scheduler.job import SchedulerStats, WorkerStatus
from penguin_ros.window.camera_window import WindowStatus


@dataclass(frozen=True)
class ModelDescription:
    """Which model is loaded, and how.

    `way`: how the backend computes on the device, in words, where there is more than one way;
    `source`: folder or hub id; `digest`: sha256 in hexadecimal; `max_length`: tokens of prompt and
    answer together; `vision_parameters`: those of encoder and projector; `weight_bytes`: what the
    weights of LLM, encoder and projector take; `load_ns`: how long loading took.
    """

    name: str
    digest: str
    source: str
    backend: str
    device: str
    precision: str
    max_length: int
    slots: int
    vocabulary_size: int
    language_parameters: int
    vision_parameters: int
    weight_bytes: int
    load_ns: int
    way: str = ''


@dataclass(frozen=True)
class Ticket:
    """A request that was taken: its id, given or made, the question as the model will read it, the
    camera ('' for a request that brought images).
    """

    id: str
    question: str
    camera: str


@dataclass(frozen=True)
class RemoteStatus:
    """Remote engines and what became of the requests that were theirs: `answered`, `failed` without
    anybody to stand in, answered by the own model that `stood_in`, and `captions_late`, dropped.
    """

    endpoints: tuple[EndpointStatus, ...] = ()
    answered: int = 0
    failed: int = 0
    stood_in: int = 0
    captions_late: int = 0


@dataclass(frozen=True)
class PipelineStatus:
    """A snapshot of the pipeline.

    `counts.questions_refused` includes those whose fields were wrong; `callback_failures`:
    exceptions of functions that were given to the pipeline, and unexpected ones while images were
    decoded; `last_error`: that of the last request that failed, cancelled and replaced ones not
    counted, at `last_error_ns` of the steady clock; `caches` and `backend`: what those of the
    loaded model have done; `cameras` (their buffers) and `windows` by the camera's name.
    """

    model: ModelDescription | None
    cameras: Mapping[str, BufferStatus]
    counts: SchedulerStats
    worker: WorkerStatus
    callback_failures: int
    last_error: PenguinError | None
    caches: CacheStats = CacheStats()
    windows: Mapping[str, WindowStatus] = field(default_factory=dict)
    backend: BackendStats = BackendStats()
    remote: RemoteStatus | None = None
    last_error_ns: int | None = None
