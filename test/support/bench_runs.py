# SPDX-License-Identifier: Apache-2.0
"""What tests of `penguin bench` share: small bundles, short runs, and their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penguin_ros.benchmark.engine.rounds import run_apart
from penguin_ros.benchmark.engine.tasks import EngineRunner
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.cli import bench_engine
from penguin_ros.cli.main import parser

SHORT = (
    '--rounds',
    '1',
    '--position',
    '40',
    '--steps',
    '4',
    '--max-tokens',
    '6',
    '--threads',
    '1',
    '--set',
    'visual.max_visual_tokens=160',
)


def onnx_bundle(checkpoint: Path, folder: Path, precision: str, max_length: int = 512) -> Path:
    """Builds a bundle for ONNX Runtime on a CPU."""
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.precision import BuildChoice

    return build_bundle(
        open_checkpoint(checkpoint),
        folder,
        BuildOrder(BuildChoice('onnxruntime', precision), max_length),
    )


def bench(
    folder: Path, *words: str | Path, runner: EngineRunner = run_apart
) -> tuple[int, dict[str, Any]]:
    """Runs `penguin bench engine`; returns its exit code and record. Later words win over SHORT."""
    record = folder / 'record.json'
    arguments = parser('bench').parse_args(
        ['bench', 'engine', *SHORT, '--json', str(record), *map(str, words)]
    )
    return bench_engine.run(arguments, runner), json.loads(record.read_text())


def figures(record: dict[str, Any], target: int = 0) -> dict[str, dict[str, Any]]:
    """The figures of a target, by name."""
    return {figure['name']: figure for figure in record['sides'][target]['figures']}


def agreement(record: dict[str, Any]) -> dict[str, float]:
    """The values of the agreement, by name."""
    return {figure['name']: figure['value'] for figure in record['agreement']['figures']}
