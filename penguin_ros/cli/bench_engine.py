# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine`: what a bundle or checkpoint does on this machine, and how far it agrees
with another side.

Knows options and the order of things; what is measured stands in bench_measures, what the numbers
mean in bench_figures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.runs import Plan, TargetRun, measure
from penguin_ros.benchmark.tasks import ONNXRUNTIME, Runner, Target, Task, run_apart
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.settings import changed_values

EPILOG = """examples:
  penguin bench engine engines/penguin_2b
  penguin bench engine engines/orin --against onnxruntime --json orin.json
  penguin bench engine engines/penguin_int4 --against engines/penguin_float32 --rounds 5
  penguin bench engine ./Penguin-VL-2B --precision bfloat16

The input is made in code and the same everywhere: 8 frames of 640 x 360 and a question. Each round of each side is a process of
its own; sides take turns and are never loaded together. Figures are medians over the rounds; the last column says how each was
measured. --against adds cosine of features and logits, top-1 agreement with the same tokens fed, and agreement of the texts:
nothing of that is judged, for int4 and float32 differ by design.

exit codes: 0 all was measured, 1 a side or the comparison failed (the error is shown), 2 nothing could be measured"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the kind."""
    parser.add_argument(
        'bundle', metavar='BUNDLE', help='folder of a bundle, or folder or hub id of a checkpoint'
    )
    parser.add_argument(
        '--against',
        metavar='SIDE',
        default='',
        help='another bundle or checkpoint; onnxruntime: the graphs of this TensorRT bundle in ONNX Runtime',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='write every figure and every round as JSON too'
    )
    parser.add_argument('--rounds', type=int, default=3, metavar='N', help='(default: 3)')
    parser.add_argument(
        '--position',
        type=int,
        default=0,
        metavar='N',
        help='tokens before the first one decoded (default: 700, or what fits)',
    )
    parser.add_argument(
        '--steps',
        type=int,
        default=Task.steps,
        metavar='N',
        help='tokens decoded there (default: %(default)s)',
    )
    parser.add_argument(
        '--max-tokens',
        type=int,
        default=Task.max_tokens,
        metavar='N',
        help='tokens of the answer to the stored clip (default: %(default)s)',
    )
    add_setting_options(
        parser,
        {
            '--device': 'model.device',
            '--precision': 'model.precision',
            '--threads': 'model.threads',
        },
    )


def run(arguments: argparse.Namespace, runner: Runner = run_apart) -> int:
    """Measures, prints, writes."""
    from penguin_ros.benchmark.engine.report import Report

    _check(arguments)
    config = config_from(arguments)
    given = changed_values(PenguinConfig(), config)
    targets = [TargetRun(Target(arguments.bundle, '', given))]
    if arguments.against:
        is_same = arguments.against == ONNXRUNTIME
        targets.append(
            TargetRun(
                Target(
                    arguments.bundle if is_same else arguments.against,
                    ONNXRUNTIME if is_same else '',
                    given,
                )
            )
        )
    task = Task(targets[0].target, arguments.position, arguments.steps, arguments.max_tokens)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        plan = Plan(arguments.rounds, task, config.model.threads or usable_cores())
        bandwidth = measure(targets, plan, Path(folder), runner)
        report = Report(targets, plan, bandwidth, load, Path(folder))
        report.print()
        if arguments.json:
            report.write(arguments.json)
    return exit_code(targets, report.is_agreement_missing)


def exit_code(targets: Sequence[TargetRun], is_agreement_missing: bool) -> int:
    """2 when no side ran at all."""
    if not any(each.rounds for each in targets):
        return exit_codes.UNUSABLE
    return (
        exit_codes.FAILED
        if is_agreement_missing or any(each.error for each in targets)
        else exit_codes.DONE
    )


def _check(arguments: argparse.Namespace) -> None:
    for name, low in (('rounds', 1), ('position', 0), ('steps', 1), ('max_tokens', 2)):
        if getattr(arguments, name) < low:
            raise SettingError(
                f'--{name.replace("_", "-")} {getattr(arguments, name)}', f'it takes {low} or more'
            )
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        raise PenguinError(
            f'{arguments.json} cannot be written', f'there is no folder {arguments.json.parent}'
        )
