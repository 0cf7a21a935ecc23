# SPDX-License-Identifier: Apache-2.0
"""The step that answers with the bundle for TensorRT; see `whole_answer`."""

from __future__ import annotations

from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.board.whole_answer import measure


def run(order: StepOrder, note: Note) -> None:
    """Notes it."""
    measure(order.bundle, order, note)
