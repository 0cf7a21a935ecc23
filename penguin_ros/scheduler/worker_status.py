# SPDX-License-Identifier: Apache-2.0
"""How the worker thread is doing: values. Knows neither jobs nor locks."""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from penguin_ros.errors import PenguinError


class WorkerState(Enum):
    """What the worker thread is doing."""

    NEW = 'new'
    OPENING = 'opening'
    SERVING = 'serving'
    CLOSED = 'closed'
    FAILED = 'failed'


@dataclass(frozen=True)
class WorkerStatus:
    """`heartbeat_ns`: steady time of the last sign of life; `step_ns`: how long the current step has taken, 0 between steps;
    `failure`: why the state is FAILED."""

    state: WorkerState
    heartbeat_ns: int
    step_ns: int
    failure: PenguinError | None
