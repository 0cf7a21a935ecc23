# SPDX-License-Identifier: Apache-2.0
"""`penguin bench live`: what a live camera costs with everything recomputed and with reuse, and
that both say the same.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.benchmark.live.tasks import CASES, LiveBenchSettings, LiveRunner
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import (
    add_setting_options,
    config_from,
    image_size,
    require_least,
    seconds,
)
from penguin_ros.console import write_json
from penguin_ros.errors import PenguinError, SettingError

EPILOG = (
    """examples:
  penguin bench live
  penguin bench live engines/penguin_2b --json live.json
  penguin bench live ./random_2b --tokens 16 --cases clip slide
  penguin bench live --node
  penguin bench live engines/penguin_2b --plot live.png

Both variants of each case, recomputed and with reuse, run in one process in turns, with the same
frames, prompts and loop. Their tokens are compared up to the first step at which the best token
leads by less than 0.001, their logits at every step. Figures are medians over the rounds. The model
of the simulated world goes first, when its weights are there: its texts show what drafts save at
the costs of the others. With --node or --plot and without --cases, only that is done.

cases:
"""
    + '\n'.join(f'  {name:10} {text}' for name, text in CASES.items())
    + """

exit codes: 0 everything was measured and both variants agree, 1 something failed or they do not,
2 nothing could be measured"""
)

LEAST = {'rounds': 0, 'tokens': 0, 'captions': 0, 'node_seconds': 10}
"""The smallest value that each option takes."""

QUICK_CAPTIONS = 3
LARGEST = 4096, 4096
"""The largest width and height of the images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the kind."""
    parser.add_argument(
        'models',
        metavar='MODEL',
        nargs='*',
        help='folders of bundles, or folders or hub ids of checkpoints',
    )
    parser.add_argument(
        '--no-default', action='store_true', help='leave out the model of the simulated world'
    )
    _add_case_arguments(parser)
    _add_input_arguments(parser)
    parser.add_argument(
        '--node',
        action='store_true',
        help='measure the node over real topics, on the first model; needs ROS 2',
    )
    parser.add_argument(
        '--node-seconds',
        type=seconds,
        default=120.0,
        metavar='N',
        help='length of that measurement (default: 120)',
    )
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='plot first tokens as the clip grows: .png, .svg'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything as JSON too')
    options = {
        '--backend': 'model.backend',
        '--device': 'model.device',
        '--precision': 'model.precision',
        '--threads': 'model.threads',
    }
    add_setting_options(parser, options)


def _add_case_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--cases',
        nargs='+',
        choices=tuple(CASES),
        metavar='CASE',
        help='these cases only (default: all)',
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=0,
        metavar='N',
        help='measurements of each case (default: 3, 1 of a slow model)',
    )
    parser.add_argument(
        '--captions',
        type=int,
        default=0,
        metavar='N',
        help='captions of each scene (default: 20, 3 of a slow model)',
    )
    parser.add_argument(
        '--quick', action='store_true', help='one round, three captions: shows that it all works'
    )


def _add_input_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--tokens',
        type=int,
        default=0,
        metavar='N',
        help='give each text N tokens, whatever it says: for random weights, whose texts do not '
        'end and for which drafts are not measured (default: each text ends by itself)',
    )
    parser.add_argument(
        '--size',
        default='',
        metavar='WxH',
        help='size of the images (default: 640x360; default model: 168x112)',
    )
    parser.add_argument(
        '--video',
        default='',
        metavar='FILE',
        help='video that is captioned (default: the simulated world)',
    )


def run(arguments: argparse.Namespace, runner: LiveRunner | None = None) -> int:
    """Measures, prints, and writes JSON and plot when they are asked for."""
    from penguin_ros.benchmark.live.models import measure_model, measure_node, models_to_measure
    from penguin_ros.benchmark.live.parts import run_apart
    from penguin_ros.benchmark.live.report import LiveReport

    settings = settings_of(arguments)
    models = models_to_measure(settings)
    loads = [os.getloadavg()[0]]
    for model in models:
        measure_model(model, settings, runner or run_apart)
    node = measure_node(models[0], settings) if settings.has_node else None
    loads.append(os.getloadavg()[0])
    report = LiveReport(models, node, loads, settings.config)
    report.print()
    if arguments.json:
        write_json(arguments.json, report.record)
    if arguments.plot:
        report.draw(arguments.plot)
    if not report.is_anything_measured:
        return exit_codes.UNUSABLE
    return exit_codes.DONE if report.is_good else exit_codes.FAILED


def settings_of(arguments: argparse.Namespace) -> LiveBenchSettings:
    """What the arguments ask for; PenguinError when it cannot be done."""
    _check(arguments)
    wants_cases = arguments.cases or not (arguments.node or arguments.plot)
    return LiveBenchSettings(
        config_from(arguments),
        tuple(arguments.models),
        tuple(arguments.cases or CASES) if wants_cases else (),
        arguments.rounds or int(arguments.quick),
        arguments.captions or QUICK_CAPTIONS * arguments.quick,
        arguments.tokens,
        image_size(arguments.size, LARGEST) if arguments.size else None,
        arguments.video,
        has_default_model=not arguments.no_default,
        has_growth=arguments.plot is not None,
        has_node=arguments.node,
        node_seconds=arguments.node_seconds,
    )


def _check(arguments: argparse.Namespace) -> None:
    require_least(arguments, LEAST)
    if arguments.tokens == 1:
        raise SettingError('--tokens 1', 'nothing is decoded then; it takes 2 or more')
    if arguments.video and not Path(arguments.video).is_file():
        raise PenguinError(f'no such file: {arguments.video}', '', 'Check the path after --video')
    if arguments.json:
        check_output(arguments.json, option='--json FILE')
    if arguments.plot:
        from penguin_ros.benchmark.live.growth import check_plot

        check_plot(arguments.plot)
