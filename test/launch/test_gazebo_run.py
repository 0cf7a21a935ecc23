# SPDX-License-Identifier: Apache-2.0
"""For those who have Gazebo Sim: the launch file runs, an image comes, and a caption tells what is
true of the demo world.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

FIRST_PICTURE_S, TRUE_CAPTION_S, STOP_S = 120.0, 180.0, 20.0
FRAMES = 4  # of a clip that shows all of what moves

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def missing() -> str:
    """What this machine lacks for a run with Gazebo Sim; empty when nothing."""
    lacking = [program for program in ('ros2', 'gz') if shutil.which(program) is None]
    if 'ros2' not in lacking:
        lacking += [
            package
            for package in ('ros_gz_sim', 'ros_gz_bridge', 'penguin_ros')
            if subprocess.run(['ros2', 'pkg', 'prefix', package], capture_output=True).returncode
        ]
    return ', '.join(lacking)


@pytest.fixture(scope='module')
def launched(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, subprocess.Popen[bytes], Path]]:
    """A graph and the launched world, without a window, apart from every other ROS and Gazebo on
    this machine.
    """
    lacking = missing()
    if lacking:
        pytest.skip(
            f'Gazebo Sim cannot be launched here, there is no: {lacking} '
            '(apt: ros-$ROS_DISTRO-ros-gz)'
        )
    for library in ('mujoco', 'onnxruntime', 'onnx'):
        pytest.importorskip(library)
    from support.graph import Graph

    from penguin_ros.config import ModelConfig
    from penguin_ros.export.bundle_cache import with_bundle
    from penguin_ros.shipped import shipped_model

    checkpoint = shipped_model()
    if checkpoint is None:
        pytest.skip('engines/penguin_sim has no weights here: nothing that sees can be tested')
    folder = tmp_path_factory.mktemp('gazebo')
    bundle = with_bundle(
        ModelConfig(checkpoint=str(checkpoint), backend='onnxruntime'), folder
    ).bundle
    graph, log = Graph(folder), folder / 'launch.log'
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(graph.domain.number),
        'GZ_PARTITION': f'penguin_{graph.domain.number}',
    }
    with log.open('wb') as output:
        process = subprocess.Popen(
            [
                'ros2',
                'launch',
                'penguin_ros',
                'gazebo.launch.py',
                'headless:=true',
                f'bundle:={bundle}',
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    yield graph, process, log
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    graph.close()


def test_an_image_and_then_a_true_caption_come(
    launched: tuple[Any, subprocess.Popen[bytes], Path],
) -> None:
    from gazebo_demo_world import demo_scene
    from penguin_msgs.msg import Caption
    from sensor_msgs.msg import Image
    from support.graph import stamp_ns

    from penguin_ros.frame import NANOSECONDS
    from penguin_ros.simulation.scoring import score_caption
    from penguin_ros.simulation.truth import truth
    from penguin_ros.simulation.world import World

    graph, process, log = launched

    def has_any(messages: list[Any]) -> bool:
        assert process.poll() is None, log.read_text(errors='replace')[-4000:]
        return bool(messages)

    images = graph.collect(Image, '/camera/image', 1)
    captions = graph.collect(Caption, '/penguin/caption')
    graph.wait_for(lambda: has_any(images), FIRST_PICTURE_S, 'an image of Gazebo')
    first = images[0]
    assert (first.width, first.height, first.encoding, first.header.frame_id) == (
        336,
        224,
        'rgb8',
        'camera_optical_frame',
    )
    told: dict[str, tuple[int, int, int]] = {}
    with World() as world:

        def is_true(caption: Any) -> bool:
            start_s, end_s = (
                stamp_ns(stamp) / NANOSECONDS
                for stamp in (caption.evidence.start, caption.evidence.end)
            )
            score = score_caption(caption.text, truth(demo_scene(), world, start_s, end_s))
            told[caption.text] = score.right, score.claimed, score.wanted
            return score.right == score.claimed == score.wanted

        def has_true_one() -> bool:
            whole = [
                caption
                for caption in captions
                if not caption.error_code and len(caption.evidence.frames) == FRAMES
            ]
            return has_any(captions) and any(
                is_true(caption) for caption in whole if caption.text not in told
            )

        try:
            graph.wait_for(
                has_true_one, TRUE_CAPTION_S, 'a caption whose facts are those of the world'
            )
        except Exception as error:
            raise AssertionError(f'right, claimed, wanted facts: {told}') from error
