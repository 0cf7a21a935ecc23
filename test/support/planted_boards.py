# SPDX-License-Identifier: Apache-2.0
"""Runs of `penguin bench board` on a fake machine with something planted in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.boards import orin_nano, write

from penguin_ros.board.sizes import SMALL
from penguin_ros.cli import bench_board
from penguin_ros.cli.main import parser

PROCESS = Path(__file__).parent / 'fake_gpu' / 'board_process.py'
MODES = """< POWER_MODEL ID=0 NAME=15W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=1 NAME=25W >
GPU MAX_FREQ 918000000
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
GPU MAX_FREQ -1
"""
GPU = 'sys/class/devfreq/17000000.gpu'


def program(folder: Path, **planted: Any) -> tuple[str, ...]:
    """Returns what runs a step on a fake machine with these things planted."""
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    path = folder / 'planted.json'
    path.write_text(json.dumps(planted))
    return (sys.executable, str(PROCESS), str(path))


def board(root: Path, release: str = 'R36 (release), REVISION: 5.0') -> Path:
    """Plants an Orin Nano in its fastest mode, with nothing wrong."""
    orin_nano(root, release)
    write(root, 'etc/nvpmodel.conf', MODES)
    write(root, 'var/lib/nvpmodel/status', 'pmode:0002')
    write(root, f'{GPU}/available_frequencies', '306000000 1020000000')
    write(root, f'{GPU}/max_freq', '1020000000')
    write(root, f'{GPU}/cur_freq', '306000000')
    return root


def bench(
    folder: Path, *words: str, **planted: Any
) -> tuple[int, dict[str, Any], dict[str, list[dict[str, str]]]]:
    """Runs the command with small sizes; returns the exit code, the file, and its verdicts by their
    state.
    """
    report = folder / 'board.json'
    arguments = parser('bench').parse_args(['bench', 'board', *words, '--report', str(report)])
    code = bench_board.run(arguments, program(folder, **planted), SMALL)
    written = json.loads(report.read_text())
    states: dict[str, list[dict[str, str]]] = {'ok': [], 'note': [], 'fault': []}
    for verdict in written['verdicts']:
        states[verdict['state']].append(verdict)
    return code, written, states
