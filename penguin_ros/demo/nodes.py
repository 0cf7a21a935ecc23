# SPDX-License-Identifier: Apache-2.0
"""The camera and the penguin node of a demo as processes, and the model that the node runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.config import ModelConfig
from penguin_ros.console import status_line
from penguin_ros.demo.rules import write_rules
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.evaluation.simulation_model import measured
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.shipped import MODEL_NAMES, shipped_model, simulation_parameters

NAMESPACE = '/penguin_demo'
NODE = f'{NAMESPACE}/penguin'
CAMERA = 'camera'
IMAGE_TOPIC = 'camera/image'
TRUTH_TOPIC = f'{NAMESPACE}/sim_camera/ground_truth'
FACTOR = 1.5
"""Simulated seconds per real second, so that a short demo shows more scenes."""

SMALL_BYTES = 2**30
REMAPS = {'__ns': NAMESPACE, '/clock': f'{NAMESPACE}/clock'}
"""The clock of a demo does not concern other nodes on its domain."""

VIDEO_LIMITS = {'caption.max_tokens': 48, 'question.max_tokens': 64}


@dataclass(frozen=True)
class DemoSettings:
    """What a demo shows and runs.

    It ends `seconds` after its nodes were made. `video` is shown instead of the simulated world. Of
    `bundle` and `checkpoint` at most one is given; `precision` is what the checkpoint is built in,
    '' for one that suits its size. `question` is asked once, '' for one whose right answer is
    known. `seed` is the first simulated scene and `level` the kind of scenes; None takes scenes
    that the model was never trained on and the level that it was measured on. `sheet` is where the
    image of the first scenes goes, `recording` the folder of an MCAP recording or None.
    """

    seconds: float
    video: Path | None = None
    bundle: str = ''
    checkpoint: str = ''
    precision: str = ''
    question: str = ''
    seed: int | None = None
    level: int | None = None
    sheet: Path = Path('demo.png')
    recording: Path | None = None

    @property
    def has_rules(self) -> bool:
        """Whether the model answers the rules of the simulated world in no time."""
        return self.video is None and not self.bundle and not self.checkpoint


@dataclass(frozen=True)
class DemoNodes:
    """The two processes of a demo."""

    camera: NodeProcess
    penguin: NodeProcess


@contextlib.contextmanager
def demo_nodes(settings: DemoSettings, folder: Path) -> Iterator[DemoNodes]:
    """The nodes as processes yet to be started, with their logs in `folder`; both are stopped at
    the end, whatever happens.
    """
    video = _existing(settings.video) if settings.video else None
    bundle = model_bundle(settings)
    shown = video.name if video else 'a simulated world'
    status_line(f'domain {os.environ["ROS_DOMAIN_ID"]}: camera {shown}, model {Path(bundle).name}')
    nodes = DemoNodes(
        _video_camera(video, folder) if video else _simulated_camera(settings, folder),
        _penguin_node(bundle, folder, settings),
    )
    with contextlib.ExitStack() as stack:
        if settings.recording is not None:
            stack.enter_context(_recorded(settings, folder))
        for process in (nodes.camera, nodes.penguin):
            stack.callback(process.stop)
        yield nodes


@contextlib.contextmanager
def _recorded(settings: DemoSettings, folder: Path) -> Iterator[None]:
    """Records everything until the end, and says where it is."""
    target = str(settings.recording and settings.recording.absolute())
    files = [] if settings.video else [simulation_parameters()]  # the time of the world
    parameters = {'folder': target, 'node': NODE, 'picture.transport': 'compressed'}
    recorder = NodeProcess('record_node', folder, parameters, REMAPS, files)
    recorder.start()
    try:
        yield
    finally:
        recorder.stop()
        said = recorder.tail(1).partition(']: ')[2]
        status_line(f'recording: {said or recorder.tail()}')


def model_bundle(settings: DemoSettings) -> str:
    """The folder of the bundle that the node runs on ONNX Runtime, built of a checkpoint when need
    be. SettingError when no model is named and the small one does not suit or is not there.
    """
    if settings.bundle:
        return str(Path(settings.bundle).resolve())
    checkpoint = settings.checkpoint or _default_model(settings)
    precision = settings.precision or _usual_precision(checkpoint)
    return with_bundle(
        ModelConfig(checkpoint=checkpoint, backend='onnxruntime', precision=precision)
    ).bundle


def _default_model(settings: DemoSettings) -> str:
    """The small model that knows the simulated world and nothing else."""
    if settings.video is not None:
        raise SettingError(
            'no model given',
            'the small model that is included knows its simulated world only, not a video',
            f'penguin demo --video {settings.video} --bundle DIR, or --checkpoint DIR_OR_HUB_ID '
            '(for example tencent/Penguin-VL-2B)',
        )
    default = shipped_model()
    if default is None:
        raise SettingError(
            'no model given',
            'engines/penguin_sim, the small model of the simulated world, has no weights here',
            'penguin demo --bundle DIR, or --checkpoint DIR_OR_HUB_ID '
            '(for example tencent/Penguin-VL-2B)',
        )
    status_line(
        f'no --bundle, no --checkpoint: the small model {default.name}, which knows its simulated '
        'world and nothing else'
    )
    return str(default)


def _usual_precision(checkpoint: str) -> str:
    """A large network decodes several times as fast in int4; a hub id names a large one."""
    small = shipped_model() if checkpoint in MODEL_NAMES else None
    sizes = [path.stat().st_size for path in (small or Path(checkpoint)).glob('*.safetensors')]
    return 'float32' if sizes and sum(sizes) < SMALL_BYTES else 'int4'


def _penguin_node(bundle: str, folder: Path, settings: DemoSettings) -> NodeProcess:
    rules = folder / 'rules.yaml'
    if settings.has_rules:
        status_line(f'{write_rules(rules)} rules are watched')
    parameters: dict[str, object] = {
        'model.bundle': bundle,
        'rule.file': str(rules),
        'cameras': [CAMERA],
        f'camera.{CAMERA}.topic': IMAGE_TOPIC,
    }
    if settings.video:
        return NodeProcess('penguin_node', folder, {**parameters, **VIDEO_LIMITS}, REMAPS)
    return NodeProcess('penguin_node', folder, parameters, REMAPS, [simulation_parameters()])


def _simulated_camera(settings: DemoSettings, folder: Path) -> NodeProcess:
    from penguin_ros.simulation.clips import HELD_OUT

    is_default = not settings.bundle and not settings.checkpoint
    parameters = {
        'seed': HELD_OUT[0] if settings.seed is None else settings.seed,
        'level': settings.level or measured(shipped_model() if is_default else None).level,
        'real_time_factor': FACTOR,
        'topic': IMAGE_TOPIC,
    }
    return NodeProcess('sim_camera', folder, parameters, REMAPS, [simulation_parameters()])


def _video_camera(video: Path, folder: Path) -> NodeProcess:
    return NodeProcess(
        'camera_node',
        folder,
        {'source': str(video), 'loop': True},
        {'image': IMAGE_TOPIC, '__ns': NAMESPACE},
    )


def _existing(video: Path) -> Path:
    if not video.is_file():
        raise PenguinError(f'no such file: {video}', '', 'Check the path after --video')
    return video.resolve()
