# SPDX-License-Identifier: Apache-2.0
"""`penguin score --calibration`: how far the probabilities of answers can be believed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import config_from, require_least
from penguin_ros.console import print_line, write_json
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import offline, with_model
from penguin_ros.evaluation.score import Suite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that only count with --calibration."""
    group = parser.add_argument_group('with --calibration')
    group.add_argument(
        '--calibration',
        action='store_true',
        help='compare the probabilities of yes or no and of choices with how often they are right',
    )
    group.add_argument(
        '--fit-scenes',
        type=int,
        default=200,
        metavar='N',
        help='other scenes that a temperature is fitted on (default: 200)',
    )
    group.add_argument(
        '--debiased',
        action='store_true',
        help='subtract what each question gets on a neutral clip, as rules do',
    )
    group.add_argument(
        '--diagram', type=Path, metavar='FILE', help='draw the reliability diagram: .png, .svg'
    )
    group.add_argument(
        '--fitted',
        type=Path,
        metavar='FILE',
        help='write the temperatures; as calibration.json beside the weights they are used',
    )


def run(arguments: argparse.Namespace, suite: Suite) -> int:
    """Exit code 1 when the calibration error is larger than wanted."""
    from penguin_ros.evaluation.calibration_report import CalibrationReport
    from penguin_ros.evaluation.calibration_scenes import CalibrationSuite, score_scenes
    from penguin_ros.simulation.clips import HELD_OUT

    require_least(arguments, {'fit_scenes': 1})
    if suite.skip + suite.scenes + arguments.fit_scenes > len(HELD_OUT):
        raise SettingError(
            f'--scenes {suite.scenes} --skip {suite.skip} --fit-scenes {arguments.fit_scenes}',
            f'there are {len(HELD_OUT)} held-out scenes, and none is used for both',
        )
    for option in ('diagram', 'fitted'):
        if getattr(arguments, option):
            check_output(getattr(arguments, option), option=f'--{option} FILE')
    fix = 'penguin score --calibration --checkpoint DIR_OR_HUB_ID'
    config = with_model(offline(config_from(arguments)), 'a score needs', fix)
    asked = CalibrationSuite(suite, arguments.fit_scenes, arguments.debiased)
    report = CalibrationReport(score_scenes(asked, config))
    print_line(json.dumps(report.record(), indent=1) if arguments.json else report.table())
    if arguments.diagram:
        report.draw(arguments.diagram)
    if arguments.fitted:
        write_json(arguments.fitted, report.temperatures.as_plain())
    return exit_codes.DONE if report.is_reached else exit_codes.FAILED
