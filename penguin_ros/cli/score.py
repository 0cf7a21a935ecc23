# SPDX-License-Identifier: Apache-2.0
"""`penguin score`: counts how often a model is right about simulated scenes, whose truth is known,
without ROS.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.cli import exit_codes, score_calibration, score_rules
from penguin_ros.cli.score_rules import LARGEST
from penguin_ros.cli.setting_options import (
    MODEL_OPTIONS,
    add_setting_options,
    config_from,
    image_size,
    require_least,
)
from penguin_ros.console import print_line
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import offline, with_model
from penguin_ros.evaluation.score import Suite

EPILOG = """examples:
  penguin score --checkpoint engines/penguin_sim
  penguin score --checkpoint engines/penguin_sim --backend onnxruntime --precision int8
  penguin score --checkpoint engines/penguin_sim --answers float32.jsonl
  penguin score --calibration --checkpoint engines/penguin_sim --diagram calibration.png
  penguin score --rules --checkpoint engines/penguin_sim --fps 1 --max-frames 4
  penguin score --checkpoint engines/penguin_sim --backend onnxruntime --precision int4 \\
      --against float32.jsonl

Scenes are drawn by MuJoCo (pip install mujoco; Debian: libegl1 libgl1-mesa-dri) from seeds that are
kept for this purpose. Two baselines stand beside the model's score: the answer that is right most
often for the kind of question, and the same model shown grey images.

With --rules, rules watch longer scenes in which one known thing happens; searching the words of
captions and asking in text are its baselines.

With --calibration, probabilities are compared with how often they are right, before and after a
temperature that is fitted on other scenes.

exit codes: 0 scored, 1 some questions ended in an error (with --rules: a rule flapped where nothing
happened; with --calibration: the error is larger than wanted), 2 wrong usage or something
missing"""

SCENES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    _add_suite_arguments(parser)
    score_rules.add_arguments(parser)
    score_calibration.add_arguments(parser)
    parser.add_argument(
        '--json', action='store_true', help='print one JSON object instead of the table'
    )
    parser.add_argument(
        '--answers',
        type=Path,
        metavar='FILE',
        help='write every answer, or what every rule did, one JSON object per line',
    )
    parser.add_argument(
        '--against',
        type=Path,
        metavar='FILE',
        help='what another model or precision wrote with --answers: prints the paired difference',
    )
    options = {
        **MODEL_OPTIONS,
        '--prompt': 'caption.prompt',
        '--clip-seconds': 'clip.seconds',
        '--fps': 'clip.fps',
        '--max-frames': 'clip.max_frames',
    }
    add_setting_options(parser, options)


def _add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--scenes',
        type=int,
        metavar='N',
        help=f'scenes to ask about (default: {SCENES}; with --rules 64)',
    )
    parser.add_argument(
        '--skip',
        type=int,
        default=0,
        metavar='N',
        help='leave out the first N held-out scenes (default: 0)',
    )
    parser.add_argument(
        '--level',
        type=int,
        default=3,
        choices=(1, 2, 3),
        help='1: up to three things that stand still; 2: some move; 3: up to four, which come and '
        'go, and a moving camera (default: 3)',
    )
    parser.add_argument(
        '--questions',
        type=int,
        default=12,
        metavar='N',
        help='questions per scene at most (default: 12)',
    )
    parser.add_argument(
        '--size', default='168x112', metavar='WxH', help='size of the images (default: 168x112)'
    )
    parser.add_argument('--no-blind', action='store_true', help='do not ask again with grey images')


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when a question ended in an error; with --rules see score_rules."""
    if arguments.rules:
        return score_rules.run(arguments)
    suite = suite_of(arguments)
    if arguments.calibration:
        return score_calibration.run(arguments, suite)
    from penguin_ros.evaluation.score import read_records, score_all, write_records
    from penguin_ros.evaluation.score_report import report, table

    config = offline(config_from(arguments))
    if arguments.answers:
        check_output(arguments.answers, option='--answers FILE')
    earlier = read_records(arguments.against) if arguments.against else None
    started = time.monotonic()
    fix = 'penguin score --checkpoint DIR_OR_HUB_ID'
    result = score_all(suite, with_model(config, 'a score needs', fix))
    if arguments.answers:
        write_records(arguments.answers, result.records)
    found = report(suite, result, earlier, time.monotonic() - started)
    print_line(json.dumps(found, indent=1) if arguments.json else table(found))
    return exit_codes.FAILED if found['errors'] else exit_codes.DONE


def suite_of(arguments: argparse.Namespace) -> Suite:
    """The suite that the arguments ask for; SettingError when there is no such suite."""
    from penguin_ros.simulation.clips import HELD_OUT

    scenes = SCENES if arguments.scenes is None else arguments.scenes
    if scenes < 1 or arguments.skip < 0 or arguments.skip + scenes > len(HELD_OUT):
        raise SettingError(
            f'--scenes {scenes} --skip {arguments.skip}',
            f'there are {len(HELD_OUT)} held-out scenes',
        )
    require_least(arguments, {'questions': 1})
    width, height = image_size(arguments.size, LARGEST)
    return Suite(
        scenes,
        arguments.skip,
        arguments.level,
        arguments.questions,
        width,
        height,
        not arguments.no_blind,
    )
