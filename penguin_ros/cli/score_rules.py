# SPDX-License-Identifier: Apache-2.0
"""`penguin score --rules`: lets rules watch simulated scenes whose events are known."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

from penguin_ros.atomic_file import check_output, write_text
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import config_from, image_size, require_least
from penguin_ros.console import print_line
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import offline, with_model
from penguin_ros.evaluation.rule_score import RuleSuite

SCENES = 64
LARGEST = 1920, 1080
"""The largest width and height of the images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that only count with --rules."""
    group = parser.add_argument_group('with --rules')
    group.add_argument(
        '--rules',
        action='store_true',
        help='let rules watch scenes whose events are known, and count which they find',
    )
    group.add_argument(
        '--baseline-scenes',
        type=int,
        default=16,
        metavar='N',
        help='scenes that are also captioned, and asked about in text (default: 16)',
    )
    group.add_argument(
        '--static-seconds',
        type=int,
        default=600,
        metavar='S',
        help='length of static scenes, in which nothing may happen (default: 600)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when a rule of a static scene flapped, or nothing was found."""
    from penguin_ros.evaluation.rule_score import score_rules
    from penguin_ros.evaluation.rule_score_report import report, table

    suite = suite_of(arguments)
    config = offline(config_from(arguments))
    started = time.monotonic()
    fix = 'penguin score --rules --checkpoint DIR_OR_HUB_ID --fps 1 --max-frames 4'
    config = with_model(config, 'a score needs', fix)
    if arguments.answers:
        check_output(arguments.answers, option='--answers FILE')
    result = score_rules(suite, config)
    if arguments.answers:
        rows = [
            json.dumps({'method': method, **asdict(track)}) + '\n'
            for method, tracks in result.tracks.items()
            for track in tracks
        ]
        write_text(arguments.answers, ''.join(rows))
    found = report(suite, result, config, time.monotonic() - started)
    print_line(json.dumps(found, indent=1) if arguments.json else table(found))
    return exit_codes.FAILED if found['static']['flaps'] else exit_codes.DONE


def suite_of(arguments: argparse.Namespace) -> RuleSuite:
    """The suite that the arguments ask for; SettingError when there is no such suite."""
    from penguin_ros.simulation.clips import HELD_OUT

    scenes = SCENES if arguments.scenes is None else arguments.scenes
    require_least(arguments, {'baseline_scenes': 0, 'static_seconds': 0, 'skip': 0})
    if not 1 <= scenes < len(HELD_OUT) - arguments.skip - 100:
        raise SettingError(
            f'--scenes {scenes} --skip {arguments.skip}',
            f'there are {len(HELD_OUT)} held-out scenes',
        )
    width, height = image_size(arguments.size, LARGEST)
    return RuleSuite(
        scenes,
        arguments.skip,
        min(arguments.baseline_scenes, scenes),
        arguments.static_seconds,
        width,
        height,
    )
