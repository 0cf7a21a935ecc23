# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine`: measures a bundle or checkpoint on this machine, and how far it agrees
with another one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.rounds import measure_targets, run_apart
from penguin_ros.benchmark.engine.tasks import (
    EngineBenchSettings,
    EngineRunner,
    EngineTask,
    TargetRun,
)
from penguin_ros.benchmark.tasks import ONNXRUNTIME, Target
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from, require_least
from penguin_ros.config import PenguinConfig
from penguin_ros.console import write_json
from penguin_ros.settings import changed_values

EPILOG = """examples:
  penguin bench engine engines/penguin_2b
  penguin bench engine engines/orin --against onnxruntime --json orin.json
  penguin bench engine engines/penguin_int4 --against engines/penguin_float32 --rounds 5
  penguin bench engine ./Penguin-VL-2B --precision bfloat16

The input is made in code and the same everywhere: 8 frames of 640 x 360 and a question. Each round
of each target is a process of its own; targets take turns and are never loaded together. Figures
are medians over the rounds; the last column says how each was measured. --against adds the cosine
of features and logits, top-1 agreement with the same tokens fed, and the agreement of the texts.
None of that is judged, since int4 and float32 differ by design.

exit codes: 0 everything was measured, 1 a target or the comparison failed (the error is shown),
2 nothing could be measured"""

LEAST = {'rounds': 1, 'position': 0, 'steps': 1, 'max_tokens': 2}
"""The smallest value that each option takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the kind."""
    parser.add_argument(
        'bundle', metavar='BUNDLE', help='folder of a bundle, or folder or hub id of a checkpoint'
    )
    parser.add_argument(
        '--against',
        metavar='TARGET',
        default='',
        help='another bundle or checkpoint to compare with; onnxruntime: the graphs of this '
        'TensorRT bundle in ONNX Runtime',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='write every figure and every round as JSON too'
    )
    _add_task_arguments(parser)
    options = {
        '--device': 'model.device',
        '--precision': 'model.precision',
        '--threads': 'model.threads',
    }
    add_setting_options(parser, options)


def _add_task_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--rounds',
        type=int,
        default=3,
        metavar='N',
        help='measurements of each target (default: 3)',
    )
    parser.add_argument(
        '--position',
        type=int,
        default=0,
        metavar='N',
        help='tokens before the first one decoded (default: 700, or as many as fit)',
    )
    parser.add_argument(
        '--steps',
        type=int,
        default=EngineTask.steps,
        metavar='N',
        help='tokens decoded there (default: %(default)s)',
    )
    parser.add_argument(
        '--max-tokens',
        type=int,
        default=EngineTask.max_tokens,
        metavar='N',
        help='tokens of the answer to the stored clip (default: %(default)s)',
    )


def run(arguments: argparse.Namespace, runner: EngineRunner = run_apart) -> int:
    """Measures, prints, and writes JSON when it is asked for."""
    from penguin_ros.benchmark.engine.report import EngineReport

    _check(arguments)
    config = config_from(arguments)
    targets = _targets(arguments, config)
    task = EngineTask(targets[0].target, arguments.position, arguments.steps, arguments.max_tokens)
    settings = EngineBenchSettings(arguments.rounds, task, config.model.threads or usable_cores())
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        bandwidth = measure_targets(targets, settings, Path(folder), runner)
        report = EngineReport(targets, settings, bandwidth, load, Path(folder))
    report.print()
    if arguments.json:
        write_json(arguments.json, report.record)
    return exit_code(targets, report.is_agreement_missing)


def exit_code(targets: Sequence[TargetRun], is_agreement_missing: bool) -> int:
    """UNUSABLE when no target ran at all, FAILED when one did not or was not compared."""
    if not any(each.rounds for each in targets):
        return exit_codes.UNUSABLE
    has_failed = is_agreement_missing or any(each.error for each in targets)
    return exit_codes.FAILED if has_failed else exit_codes.DONE


def _targets(arguments: argparse.Namespace, config: PenguinConfig) -> list[TargetRun]:
    given = changed_values(PenguinConfig(), config)
    targets = [Target(arguments.bundle, '', given)]
    if arguments.against == ONNXRUNTIME:
        targets.append(Target(arguments.bundle, ONNXRUNTIME, given))
    elif arguments.against:
        targets.append(Target(arguments.against, '', given))
    return [TargetRun(target) for target in targets]


def _check(arguments: argparse.Namespace) -> None:
    require_least(arguments, LEAST)
    if arguments.json:
        check_output(arguments.json, option='--json FILE')
