# SPDX-License-Identifier: Apache-2.0
"""`penguin bench live`: what a live camera costs with everything computed anew and with reuse, and
that both say the same.

Knows options and the order of things; what is measured stands in the files bench_live_*.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from penguin_ros.benchmark.live.tasks import (
    CASES,
    GROWTH,
    INTERRUPT,
    LiveRunner,
    LiveTask,
    ModelRun,
    Record,
    failed,
    run_apart,
)
from penguin_ros.benchmark.tasks import Target, TargetError
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.evaluation.simulation_model import default_checkpoint
from penguin_ros.settings import Value, changed_values

EPILOG = (
    """examples:
  penguin bench live
  penguin bench live engines/penguin_2b --json live.json
  penguin bench live ./random_2b --tokens 16 --cases clip slide
  penguin bench live --node
  penguin bench live engines/penguin_2b --plot live.png

Both sides of each case, computed anew and with reuse, run in one process in turns, with the same frames, prompts and loop.
Their tokens are compared up to the first step at which the lead of the best token is under 0.001, their logits at every step.
Figures are medians over the rounds. The model of the simulated world goes first, when its weights are there: its texts show
what drafts save at the costs of the others. With --node or --plot and without --cases, only that is done.

cases:
"""
    + '\n'.join(f'  {name:10} {text}' for name, text in CASES.items())
    + """

exit codes: 0 all was measured and both sides agree, 1 something failed or they do not, 2 nothing could be measured"""
)

SIZES = {'default': (168, 112), 'other': (640, 360)}
"""Pictures of the default model, which has learnt small ones, and of others."""

LEARNT: Mapping[str, Value] = {'clip.fps': 1.0, 'clip.max_frames': 4}
"""What the default model has learnt: clips of up to four frames, a second apart."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the kind."""
    parser.add_argument(
        'models',
        metavar='MODEL',
        nargs='*',
        help='folders of bundles, or folders or hub ids of checkpoints',
    )
    parser.add_argument(
        '--cases', nargs='+', choices=tuple(CASES), metavar='CASE', help='some only (default: all)'
    )
    parser.add_argument(
        '--rounds', type=int, default=0, metavar='N', help='(default: 3, 1 of a slow model)'
    )
    parser.add_argument(
        '--tokens',
        type=int,
        default=0,
        metavar='N',
        help='each text has N tokens, whatever it says: for random '
        'weights, whose texts do not end and of which drafts are not measured (default: each ends by itself)',
    )
    parser.add_argument(
        '--captions',
        type=int,
        default=0,
        metavar='N',
        help='of each scene (default: 20, 3 of a slow model)',
    )
    parser.add_argument(
        '--size',
        default='',
        metavar='WxH',
        help='of the pictures (default: 640x360; default model: 168x112)',
    )
    parser.add_argument(
        '--video',
        default='',
        metavar='FILE',
        help='what is captioned (default: the simulated world)',
    )
    parser.add_argument(
        '--quick', action='store_true', help='one round, three captions: shows that all works'
    )
    parser.add_argument(
        '--no-default', action='store_true', help='without the model of the simulated world'
    )
    parser.add_argument(
        '--node',
        action='store_true',
        help='the node over real topics, on the first model; needs ROS 2',
    )
    parser.add_argument(
        '--node-seconds', type=float, default=120.0, metavar='N', help='(default: 120)'
    )
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='draw first tokens as the clip grows: .png, .svg'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything as JSON too')
    add_setting_options(
        parser,
        {
            '--backend': 'model.backend',
            '--device': 'model.device',
            '--precision': 'model.precision',
            '--threads': 'model.threads',
        },
    )


def run(arguments: argparse.Namespace, runner: LiveRunner = run_apart) -> int:
    """Measures, prints, writes."""
    from penguin_ros.benchmark.live.report import LiveReport

    _check(arguments)
    config = config_from(arguments)
    models, loads = _models(arguments, config), [os.getloadavg()[0]]
    for model in models:
        _measure(model, arguments, runner)
    node = _node(arguments, models[0]) if arguments.node else None
    loads.append(os.getloadavg()[0])
    report = LiveReport(models, node, loads, config)
    report.print()
    if arguments.json:
        report.write(arguments.json)
    if arguments.plot:
        report.draw(arguments.plot)
    if all(model.record.get('error') for model in models) and not (node and not node['error']):
        return exit_codes.UNUSABLE
    return exit_codes.DONE if report.is_good else exit_codes.FAILED


def _models(arguments: argparse.Namespace, config: PenguinConfig) -> list[ModelRun]:
    """The default model first, where it is; a node may run on a tiny random one where there is none
    at all.
    """
    given = changed_values(PenguinConfig(), config)
    default = None if arguments.no_default else default_checkpoint()
    models = [ModelRun(Target(str(default), '', {**LEARNT, **given}), True, {})] if default else []
    models += [ModelRun(Target(name, '', given), False, {}) for name in arguments.models]
    if not models and not arguments.node:
        raise SettingError(
            'no model',
            'the weights of the model of the simulated world are not here',
            'Name a bundle or a checkpoint: penguin bench live engines/NAME',
        )
    return models or [ModelRun(Target('', '', given), False, {})]


def _measure(model: ModelRun, arguments: argparse.Namespace, runner: LiveRunner) -> None:
    """Texts and interruptions are parts of their own, each in a fresh process."""
    task = _task(model, arguments)
    texts = tuple(name for name in task.cases if name != INTERRUPT)
    for cases in (texts, (INTERRUPT,) if INTERRUPT in task.cases else ()):
        if cases:
            status_line(f'{model.target.name}: {", ".join(cases)}')
            found = runner(replace(task, cases=cases))
            model.record.update({**found, 'error': model.record.get('error') or found['error']})


def _task(model: ModelRun, arguments: argparse.Namespace) -> LiveTask:
    wants_cases = arguments.cases or not (arguments.node or arguments.plot)
    cases = (
        tuple(name for name in CASES if name in (arguments.cases or CASES)) if wants_cases else ()
    )
    width, height = _size(arguments.size) or SIZES['default' if model.is_default else 'other']
    return LiveTask(
        model.target,
        (*cases, GROWTH) if arguments.plot else cases,
        arguments.rounds or int(arguments.quick),
        0 if model.is_default else arguments.tokens,
        width,
        height,
        arguments.captions or 3 * arguments.quick,
        arguments.video,
    )


def _node(arguments: argparse.Namespace, model: ModelRun) -> Record:
    """On the first model, or, without any, on a tiny one with random weights."""
    import tempfile

    from penguin_ros.benchmark.live.node import NodeTask, node_record

    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        target = model.target
        try:
            if not target.source:
                from penguin_ros.testing.random_checkpoint import write_random_checkpoint

                target = replace(
                    target, source=str(write_random_checkpoint(Path(folder) / 'random-tiny'))
                )
            return {
                'model': target.name,
                **node_record(NodeTask(target, arguments.node_seconds, arguments.video)),
            }
        except (PenguinError, OSError) as error:
            return failed(TargetError.of(error))


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, _, height = text.partition('x')
    if not (
        width.isdigit()
        and height.isdigit()
        and 28 <= int(width) <= 4096
        and 28 <= int(height) <= 4096
    ):
        raise SettingError(
            f'--size {text}', 'it takes width x height in pixels, 28 to 4096 each, e.g. 640x360'
        )
    return int(width), int(height)


def _check(arguments: argparse.Namespace) -> None:
    limits: Mapping[str, Any] = {'rounds': 0, 'tokens': 0, 'captions': 0, 'node_seconds': 10}
    for name, low in limits.items():
        if getattr(arguments, name) < low:
            raise SettingError(
                f'--{name.replace("_", "-")} {getattr(arguments, name)}', f'it takes {low} or more'
            )
    if arguments.tokens == 1:
        raise SettingError('--tokens 1', 'nothing is decoded then; it takes 2 or more')
    _size(arguments.size)
    if arguments.video and not Path(arguments.video).is_file():
        raise PenguinError(f'no such file: {arguments.video}', '', 'Check the path after --video')
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        raise PenguinError(
            f'{arguments.json} cannot be written', f'there is no folder {arguments.json.parent}'
        )
    if arguments.plot:
        from penguin_ros.benchmark.live.growth import check_plot

        check_plot(arguments.plot)
