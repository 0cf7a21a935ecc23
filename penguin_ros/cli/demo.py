# SPDX-License-Identifier: Apache-2.0
"""`penguin demo`: runs a camera and the penguin node on this machine for a while, and shows
captions and one answer. The camera is that of a simulated world whose truth is known, or a video.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.cli import exit_codes
from penguin_ros.cli.console import PORT, port
from penguin_ros.cli.setting_options import seconds
from penguin_ros.demo.nodes import DemoSettings
from penguin_ros.errors import SettingError

SECONDS = 40.0
FLEET_SECONDS = 180.0
PRECISIONS = ('float32', 'int8', 'int4')

EPILOG = """examples:
  penguin demo
  penguin demo --console                     # then open the address that it prints
  penguin demo --fleet                       # two robots, one served engine that is killed
  penguin demo --seconds 60 --seed 1000000500
  penguin demo --record demo_recording       # then open it in Foxglove
  penguin demo --seconds 60 --bundle engines/Penguin-VL-2B --video drive.mp4
  penguin demo --seconds 60 --checkpoint ./Penguin-VL-2B --precision int4 --video drive.mp4

Without --video the camera shows a simulated world, captions are printed beside the truth, and an
image of the first scenes with caption and truth is left. The node runs a bundle on ONNX Runtime;
that of a checkpoint is built first and kept in ~/.cache/penguin_ros. A video needs a model that was
trained on real images.

exit codes: 0 at least one caption and the answer arrived (right or wrong: that is printed), or the
console was ended; 1 one of them did not, 2 wrong usage or something missing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        '--seconds',
        type=seconds,
        metavar='N',
        help='stop after N seconds (default: 40; with --console: at Ctrl-C; with --fleet: 180 at '
        'the latest)',
    )
    parser.add_argument(
        '--console', action='store_true', help='show everything in the browser, until Ctrl-C'
    )
    parser.add_argument(
        '--fleet',
        action='store_true',
        help='two robots ask one served engine, which is killed and comes back',
    )
    parser.add_argument(
        '--port', type=port, default=PORT, metavar='N', help=f'of the console (default: {PORT})'
    )
    parser.add_argument(
        '--video', type=Path, metavar='FILE', help='show this video instead of a simulated world'
    )
    parser.add_argument(
        '--record', type=Path, metavar='DIR', help='write an MCAP recording into a new folder'
    )
    _add_model_arguments(parser)
    parser.add_argument(
        '--question',
        default='',
        help='the question that is asked (default: one whose right answer is known)',
    )
    _add_scene_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument('--bundle', default='', metavar='DIR', help='folder that penguin build made')
    model.add_argument(
        '--checkpoint',
        default='',
        metavar='DIR',
        help='folder or hub id (default: the small model of the simulated world)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='',
        help='what the checkpoint is built in (default: int4, float32 for a small one)',
    )


def _add_scene_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--seed',
        type=int,
        default=None,
        metavar='N',
        help='first simulated scene (default: one that the model was never trained on)',
    )
    parser.add_argument(
        '--level',
        type=int,
        choices=(1, 2, 3),
        default=None,
        help='kind of simulated scenes (default: the hardest that the model was measured on)',
    )
    parser.add_argument(
        '--picture',
        type=Path,
        default=DemoSettings.sheet,
        metavar='FILE',
        help='where the image of the first scenes, or of the fleet, goes (default: demo.png)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Shows the demo; exit code 1 when no caption or no answer arrived."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    if arguments.record is not None and arguments.record.exists():
        raise SettingError(
            f'{arguments.record} is there already', 'a recording is a new folder', 'Name another'
        )
    if not (arguments.video or arguments.console):
        check_output(arguments.picture, option='--picture FILE')
    settings = DemoSettings(
        _seconds(arguments),
        arguments.video,
        arguments.bundle,
        arguments.checkpoint,
        arguments.precision,
        arguments.question,
        arguments.seed,
        arguments.level,
        arguments.picture,
        arguments.record,
    )
    if arguments.fleet:
        from penguin_ros.demo.fleet import run_fleet_demo

        return exit_codes.DONE if run_fleet_demo(settings) else exit_codes.FAILED
    if arguments.console:
        from penguin_ros.demo.console import run_console_demo

        run_console_demo(settings, arguments.port)
        return exit_codes.DONE
    from penguin_ros.demo.show import run_demo

    return exit_codes.DONE if run_demo(settings) else exit_codes.FAILED


def _seconds(arguments: argparse.Namespace) -> float:
    if arguments.seconds is not None:
        return float(arguments.seconds)
    if arguments.fleet:
        return FLEET_SECONDS
    return 0.0 if arguments.console else SECONDS
