# SPDX-License-Identifier: Apache-2.0
"""The checks of a Jetson: the first three steps of `penguin bench board`, with less memory and
fewer copies, each in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from penguin_ros.board.runner import PROGRAM, BoardRequest, run_steps
from penguin_ros.board.sizes import BoardSizes, light
from penguin_ros.board.steps import LIGHT
from penguin_ros.board.verdicts import board_verdicts
from penguin_ros.board_facts import board_facts
from penguin_ros.doctor.finding import Finding, State

ON_DISK = Path('/var/tmp')
TOLD_BEFORE = ('cuda', 'tensorrt')
"""What the checks of libraries and of CUDA say."""

MORE = 'Everything else of the board: penguin bench board'


def board(program: Sequence[str] = PROGRAM, sizes: BoardSizes | None = None) -> Iterator[Finding]:
    """Yields nothing on a machine that is no Jetson."""
    if board_facts().jetson is None:
        return
    folder = ON_DISK if ON_DISK.is_dir() else Path(tempfile.gettempdir())
    request = BoardRequest('', folder, light(sizes or BoardSizes()), LIGHT, program)
    for verdict in board_verdicts(run_steps(request)):
        if verdict.topic not in TOLD_BEFORE or verdict.state == State.FAULT.value:
            fix = verdict.fix
            if verdict.topic == 'board':
                fix = MORE
            yield Finding(verdict.topic, State(verdict.state), verdict.text, fix)
