# SPDX-License-Identifier: Apache-2.0
"""The checks of a Jetson: the first three steps of `penguin bench board`, with less memory and
fewer copies, each in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from penguin_ros.board.result import Verdict
from penguin_ros.board.runner import PROGRAM, BoardRequest, run_steps
from penguin_ros.board.sizes import BoardSizes
from penguin_ros.board.verdicts import board_verdicts
from penguin_ros.board_facts import board_facts
from penguin_ros.doctor.finding import Finding, State

STEPS = ('identity', 'cuda', 'memory')
LIGHTER = 4
"""By this the file that is read and the copies are smaller than in the whole bench."""

ON_DISK = Path('/var/tmp')
"""Where a large file is not memory, as it would be in a /tmp that is."""

TOLD_BEFORE = ('cuda', 'tensorrt')
"""What the checks of libraries and of CUDA have said, unless a call failed."""

MORE = 'Everything else of the board: penguin bench board'


def board(program: Sequence[str] = PROGRAM, sizes: BoardSizes | None = None) -> Iterator[Finding]:
    """Yields nothing on a machine that is no Jetson."""
    if board_facts().jetson is None:
        return
    request = BoardRequest('', _folder(), _lighter(sizes or BoardSizes()), STEPS, program)
    for verdict in board_verdicts(run_steps(request)):
        if _is_new(verdict):
            yield _finding(verdict)


def _folder() -> Path:
    return ON_DISK if ON_DISK.is_dir() else Path(tempfile.gettempdir())


def _is_new(verdict: Verdict) -> bool:
    return verdict.topic not in TOLD_BEFORE or verdict.state == State.FAULT.value


def _lighter(sizes: BoardSizes) -> BoardSizes:
    return replace(
        sizes,
        file_bytes=sizes.file_bytes // LIGHTER,
        copy_bytes=sizes.copy_bytes // LIGHTER,
    )


def _finding(verdict: Verdict) -> Finding:
    fix = MORE if verdict.topic == 'board' else verdict.fix
    return Finding(verdict.topic, State(verdict.state), verdict.text, fix)
