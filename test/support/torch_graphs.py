# SPDX-License-Identifier: Apache-2.0
"""The torch backend with recorded passes on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from support.replaying_recorder import ReplayingRecorder, held_tensors

from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.backends.torch.graphs import PassCache
from penguin_ros.backends.torch.session import Recording
from penguin_ros.config import ModelConfig

SMALLEST_LENGTH = 16
"""The first bucket of lengths, so that a slot of 64 positions has four."""


def recording_backend(
    checkpoint: Any,
    config: ModelConfig,
    recorder: ReplayingRecorder | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> TorchBackend:
    """Returns a backend, not open, that records passes with `recorder`, or one of its own."""
    recorder = recorder or ReplayingRecorder()
    backend = TorchBackend(
        checkpoint, config, Recording(lambda: recorder, SMALLEST_LENGTH, clock_ns)
    )
    recorder.held = lambda: held_tensors(backend._session)
    return backend


def graphs_of(backend: TorchBackend) -> PassCache:
    """Returns the bookkeeping of an open backend."""
    assert backend._session is not None and backend._session._graphs is not None
    return backend._session._graphs
