# SPDX-License-Identifier: Apache-2.0
"""`penguin demo`: a camera, the penguin node and a watcher for a while, on this machine. Knows the
nodes as processes.

The camera is that of a simulated world whose truth is known, or a video.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.cli import exit_codes
from penguin_ros.console import print_line, status_line
from penguin_ros.demo.model import bundle_of
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.simulation_model import (
    default_checkpoint,
    measured,
    simulation_parameters,
)
from penguin_ros.ros.process.node_process import NodeProcess

if TYPE_CHECKING:
    from penguin_ros.demo.watch import Stage

NAMESPACE = '/penguin_demo'
NODE = f'{NAMESPACE}/penguin'
CAMERA = 'camera'
IMAGE_TOPIC = 'camera/image'
TRUTH_TOPIC = f'{NAMESPACE}/sim_camera/ground_truth'
PRECISIONS = ('float32', 'int8', 'int4')
FACTOR = 1.5
"""Simulated seconds per real second: more scenes in a short demo."""

EPILOG = """examples:
  penguin demo
  penguin demo --seconds 60 --seed 1000000500
  penguin demo --seconds 60 --bundle engines/Penguin-VL-2B --video drive.mp4
  penguin demo --seconds 60 --checkpoint ./Penguin-VL-2B --precision int4 --video drive.mp4

Without --video the camera shows a simulated world, captions are printed beside the truth, and a picture of the first scenes
with caption and truth is left. The node runs a bundle on ONNX Runtime; that of a checkpoint is built first and kept in
~/.cache/penguin_ros.

exit codes: 0 at least one caption and the answer arrived (right or wrong: that is printed), 1 one of them did not, 2 wrong usage
or something missing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        '--seconds',
        type=float,
        default=40.0,
        metavar='N',
        help='stop by itself after N seconds (default: 40)',
    )
    parser.add_argument(
        '--video', type=Path, metavar='FILE', help='show this video instead of a simulated world'
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument('--bundle', default='', metavar='DIR', help='folder that penguin build made')
    model.add_argument(
        '--checkpoint',
        default='',
        metavar='DIR',
        help='folder or hub id (default: the small model of the '
        'simulated world; for a video a tiny random network)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='',
        help='what the checkpoint is built in (default: int4, float32 for a small one)',
    )
    parser.add_argument(
        '--question',
        default='',
        help='the question that is asked (default: one whose right answer is known)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=None,
        metavar='N',
        help='first simulated scene (default: one that was never trained on)',
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
        default=Path('demo.png'),
        metavar='FILE',
        help='where the picture of the first scenes goes (default: demo.png)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Starts, watches, asks, stops; see the exit codes."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    os.environ.setdefault(
        'ROS_DOMAIN_ID', str(20 + os.getpid() % 80)
    )  # keeps apart from robots and other demos
    with (
        tempfile.TemporaryDirectory(prefix='penguin_demo_') as folder,
        nodes(arguments, Path(folder)) as (camera, penguin),
    ):
        from penguin_ros.demo.watch import Stage

        end = (
            time.monotonic() + arguments.seconds
        )  # building a bundle may have taken longer than that
        stage = Stage(camera, penguin, NODE, f'{NAMESPACE}/{IMAGE_TOPIC}', end)
        return _watch_video(arguments, stage) if arguments.video else _watch_world(arguments, stage)


def _watch_video(arguments: argparse.Namespace, stage: Stage) -> int:
    from penguin_ros.demo.watch import DemoWatch
    from penguin_ros.ros.client.session import session

    with session('penguin_demo_watch') as watch_session:
        watch = DemoWatch(
            watch_session, stage, arguments.question or 'What is moving, and which way?'
        )
        try:
            watch.run()
        except KeyboardInterrupt:
            status_line('interrupted')
    watch.print_summary()
    return exit_codes.DONE if watch.is_complete else exit_codes.FAILED


def _watch_world(arguments: argparse.Namespace, stage: Stage) -> int:
    from penguin_ros.demo.sheet import write_sheet
    from penguin_ros.demo.world import WorldWatch
    from penguin_ros.ros.client.session import session
    from penguin_ros.simulation.world import World

    with World() as world, session('penguin_demo_watch') as watch_session:
        watch = WorldWatch(watch_session, stage, arguments.question, TRUTH_TOPIC, world)
        try:
            watch.run()
        except KeyboardInterrupt:
            status_line('interrupted')
    watch.print_summary()
    if watch.shown:
        print_line(f'picture of the first scenes: {write_sheet(watch.sheet(), arguments.picture)}')
    return exit_codes.DONE if watch.is_complete else exit_codes.FAILED


@contextlib.contextmanager
def nodes(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """The camera and the penguin node as processes yet to be started; both are stopped at the end,
    whatever happens.
    """
    checkpoint = (
        None
        if arguments.video or arguments.bundle or arguments.checkpoint
        else default_checkpoint()
    )
    video = _video(arguments.video) if arguments.video else None
    bundle = bundle_of(arguments, checkpoint, folder)
    with contextlib.ExitStack() as stack:
        shown = video.name if video else 'a simulated world'
        status_line(
            f'domain {os.environ["ROS_DOMAIN_ID"]}: camera {shown}, model {Path(bundle).name}'
        )
        camera = (
            _video_camera(video, folder)
            if video
            else _simulated_camera(arguments, checkpoint, folder)
        )
        parameters = {
            'model.bundle': bundle,
            'cameras': [CAMERA],
            f'camera.{CAMERA}.topic': IMAGE_TOPIC,
        }
        penguin = NodeProcess(
            'penguin_node',
            folder,
            {
                **parameters,
                **({'caption.max_tokens': 48, 'question.max_tokens': 64} if video else {}),
            },
            {'__ns': NAMESPACE, '/clock': f'{NAMESPACE}/clock'},
            [] if video else [simulation_parameters()],
        )
        for process in (camera, penguin):
            stack.callback(process.stop)
        yield camera, penguin


def _simulated_camera(
    arguments: argparse.Namespace, checkpoint: Path | None, folder: Path
) -> NodeProcess:
    from penguin_ros.simulation.clips import HELD_OUT

    level = arguments.level or measured(checkpoint).level
    seed = HELD_OUT[0] if arguments.seed is None else arguments.seed
    # The clock of a demo is no concern of other nodes on its domain.
    return NodeProcess(
        'sim_camera',
        folder,
        {'seed': seed, 'level': level, 'real_time_factor': FACTOR, 'topic': IMAGE_TOPIC},
        {'__ns': NAMESPACE, '/clock': f'{NAMESPACE}/clock'},
        [simulation_parameters()],
    )


def _video_camera(video: Path, folder: Path) -> NodeProcess:
    return NodeProcess(
        'camera_node',
        folder,
        {'source': str(video), 'loop': True},
        {'image': IMAGE_TOPIC, '__ns': NAMESPACE},
    )


def _video(given: Path) -> Path:
    if not given.is_file():
        raise PenguinError(f'no such file: {given}', '', 'Check the path after --video')
    return given.resolve()
