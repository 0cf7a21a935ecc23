# SPDX-License-Identifier: Apache-2.0
"""`penguin demo`: a camera node, the penguin node and a watcher for a while, on this machine. Knows the nodes as processes."""
from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from penguin_ros.cli import exits
from penguin_ros.cli.built_bundle import with_bundle
from penguin_ros.cli.node_process import NodeProcess
from penguin_ros.cli.terminal import status_line
from penguin_ros.config import ModelConfig
from penguin_ros.errors import PenguinError

NAMESPACE = '/penguin_demo'
NODE = f'{NAMESPACE}/penguin'
CAMERA = 'camera'
IMAGE_TOPIC = 'camera/image'
SMALL_BYTES = 2 ** 30
PRECISIONS = ('float32', 'int8', 'int4')

EPILOG = """examples:
  penguin demo
  penguin demo --seconds 60 --bundle engines/Penguin-VL-2B --video drive.mp4
  penguin demo --seconds 60 --checkpoint ./Penguin-VL-2B --precision int4

The node runs a bundle on ONNX Runtime. That of a checkpoint is built first and kept in ~/.cache/penguin_ros.

exit codes: 0 at least one caption and the answer arrived, 1 one of them did not, 2 wrong usage or something missing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument('--seconds', type=float, default=40.0, metavar='N', help='stop by itself after N seconds (default: 40)')
    parser.add_argument('--video', type=Path, metavar='FILE', help='what the camera shows (default: a drawn ball and box)')
    model = parser.add_mutually_exclusive_group()
    model.add_argument('--bundle', default='', metavar='DIR', help='folder that penguin build made')
    model.add_argument('--checkpoint', default='', metavar='DIR', help='folder or hub id (default: a tiny random network)')
    parser.add_argument('--precision', choices=PRECISIONS, default='',
                        help='what the checkpoint is built in (default: int4, float32 for a small one)')
    parser.add_argument('--question', default='What is moving, and which way?', help='the question that is asked')


def run(arguments: argparse.Namespace) -> int:
    """Starts, watches, asks, stops; see the exit codes."""
    from penguin_ros.ros.message_check import require_messages
    require_messages()
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))  # keeps apart from robots and other demos
    with tempfile.TemporaryDirectory(prefix='penguin_demo_') as folder, nodes(arguments, Path(folder)) as (camera, penguin):
        from penguin_ros.cli.demo_watch import DemoWatch
        from penguin_ros.ros.session import session
        end = time.monotonic() + arguments.seconds  # building a bundle may have taken longer than that
        with session('penguin_demo_watch') as watch_session:
            watch = DemoWatch(watch_session, NODE, f'{NAMESPACE}/{IMAGE_TOPIC}', camera, penguin, end)
            try:
                watch.run(arguments.question)
            except KeyboardInterrupt:
                status_line('interrupted')
        watch.print_summary()
        return exits.DONE if watch.is_complete else exits.FAILED


@contextlib.contextmanager
def nodes(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """The camera and the penguin node as processes yet to be started; both are stopped at the end, whatever happens."""
    video, bundle = _video(arguments.video, folder), _bundle(arguments, folder)
    with contextlib.ExitStack() as stack:
        status_line(f'domain {os.environ["ROS_DOMAIN_ID"]}: camera {video.name}, model {Path(bundle).name}')
        camera = NodeProcess('camera_node', folder, {'source': str(video), 'loop': True, 'frame_id': 'camera_optical'},
                             {'image': IMAGE_TOPIC, '__ns': NAMESPACE})
        penguin = NodeProcess('penguin_node', folder, {
            'model.bundle': bundle, 'cameras': [CAMERA], f'camera.{CAMERA}.topic': IMAGE_TOPIC,
            'caption.max_tokens': 48, 'question.max_tokens': 64}, {'__ns': NAMESPACE})
        for process in (camera, penguin):
            stack.callback(process.stop)
        yield camera, penguin


def _video(given: Path | None, folder: Path) -> Path:
    if given is None:
        from penguin_ros.cli.demo_video import draw_video
        status_line('no --video: the camera shows a drawn ball and box')
        return draw_video(folder / 'ball_and_box.mp4')
    if not given.is_file():
        raise PenguinError(f'no such file: {given}', '', 'Check the path after --video')
    return given.resolve()


def _bundle(arguments: argparse.Namespace, folder: Path) -> str:
    """The folder that is given, or that of a checkpoint, built when need be."""
    if arguments.bundle:
        return str(Path(arguments.bundle).resolve())
    checkpoint, place = arguments.checkpoint, None
    if not checkpoint:
        from penguin_ros.checkpoint.random_checkpoint import write_random_checkpoint
        status_line('no --bundle, no --checkpoint: a tiny network with random weights; its words mean nothing, everything else '
                    'is real')
        checkpoint, place = str(write_random_checkpoint(folder / 'random-tiny')), folder
    precision = arguments.precision or _usual_precision(Path(checkpoint))
    return with_bundle(ModelConfig(checkpoint=checkpoint, backend='onnxruntime', precision=precision), place).bundle


def _usual_precision(checkpoint: Path) -> str:
    """A large network decodes several times as fast in int4; a hub id names a large one."""
    sizes = [path.stat().st_size for path in checkpoint.glob('*.safetensors')]
    return 'float32' if sizes and sum(sizes) < SMALL_BYTES else 'int4'
