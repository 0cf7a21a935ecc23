# SPDX-License-Identifier: Apache-2.0
"""`penguin demo` as a user runs it: processes, topics, a simulated world or a real video."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.blocked_libraries import environment_without

from penguin_ros.cli import exit_codes
from penguin_ros.ros.process.node_process import NodeProcess, NodeStopped
from penguin_ros.shipped import shipped_model

pytest.importorskip('penguin_msgs.msg')


pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
needs_mujoco = pytest.mark.skipif(
    importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here'
)


def demo(folder: Path, *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs the demo in processes in which torch cannot be imported."""
    environment = {
        **os.environ,
        'PYTHONUNBUFFERED': '1',
        'XDG_CACHE_HOME': str(folder / 'cache'),
        **environment_without(folder / 'blocked', 'torch'),
    }
    return subprocess.run(
        [sys.executable, '-m', 'penguin_ros.cli.main', 'demo', '--seconds', str(seconds), *words],
        capture_output=True,
        text=True,
        timeout=seconds + 90,
        env=environment,
        cwd=folder,
    )


@pytest.mark.slow
def test_real_video_through_the_whole_graph(
    golden_dir: Path, video_path: Path, tmp_path: Path
) -> None:
    done = demo(
        tmp_path,
        '--checkpoint',
        str(golden_dir / 'checkpoint'),
        '--video',
        str(video_path),
        '--question',
        'Who walks?',
        seconds=40,
    )
    assert done.returncode == exit_codes.DONE, done.stdout + done.stderr
    assert re.search(r'^camera \[\d+\.\d{3} – \d+\.\d{3}\] ', done.stdout, re.MULTILINE)
    assert 'Q: Who walks?\nA: ' in done.stdout
    seen, named = (
        int(number)
        for number in re.search(r'(\d+) of (\d+) frames named as evidence', done.stdout).groups()
    )
    assert seen == named > 0


needs_model = pytest.mark.skipif(
    shipped_model() is None, reason='the small model has no weights here'
)


def assert_recorded(folder: Path) -> None:
    """Asserts that the demo's recording has captions, and annotations for each picture."""
    from rosbags.rosbag2 import Reader

    with Reader(folder) as reader:
        counts = {each.topic: each.msgcount for each in reader.connections}
    pictures = counts['/penguin_demo/camera/image/compressed']
    assert pictures > 20
    assert counts['/penguin_demo/overlay/camera/annotations'] == pictures
    assert counts['/penguin_demo/penguin/caption'] > 0


@needs_mujoco
@needs_model
@pytest.mark.slow
def test_without_arguments_captions_of_a_simulated_world_stand_beside_the_truth(
    tmp_path: Path,
) -> None:
    """Whether captions are right depends on the model; that they are compared, counted and drawn
    does not.
    """
    done = demo(tmp_path, '--record', 'drive', seconds=45)
    assert done.returncode == exit_codes.DONE, done.stdout + done.stderr
    assert_recorded(tmp_path / 'drive')
    assert 'penguin_sim, which knows its simulated world' in done.stderr
    scenes = re.findall(
        r'^scene \d+ +[\d.]+ – [\d.]+ s: .*\ncaption +\S', done.stdout, re.MULTILINE
    )
    assert len(scenes) >= 2 and len(
        re.findall(r'^truth +There (?:is|are) ', done.stdout, re.MULTILINE)
    ) == len(scenes)
    assert re.search(
        r'^Q: .+\nA: .*\n.*\n +(RIGHT|WRONG): the truth is “.+”$', done.stdout, re.MULTILINE
    )
    counted, told, right = map(
        int,
        re.search(
            r'^(\d+) scenes described: of (\d+) facts told (\d+)', done.stdout, re.M
        ).groups(),
    )
    assert counted == len(scenes) and right <= told
    assert Image.open(tmp_path / 'demo.png').width > 1000


@needs_mujoco
def test_too_little_time_for_a_caption_is_a_failure_not_a_success(
    golden_dir: Path, tmp_path: Path
) -> None:
    done = demo(tmp_path, '--checkpoint', str(golden_dir / 'checkpoint'), seconds=0.5)
    assert done.returncode == exit_codes.FAILED
    assert '0 captions and no answer' in done.stdout and not (tmp_path / 'demo.png').exists()


def test_missing_video_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, '--video', '/nowhere/film.mp4', '--bundle', 'any', seconds=5)
    assert done.returncode == exit_codes.UNUSABLE
    assert '/nowhere/film.mp4' in done.stderr


def test_a_video_without_a_model_asks_for_one(video_path: Path, tmp_path: Path) -> None:
    done = demo(tmp_path, '--video', str(video_path), seconds=5)
    assert done.returncode == exit_codes.UNUSABLE
    assert 'no model given' in done.stderr and '--checkpoint' in done.stderr
    assert f'penguin demo --video {video_path} --bundle DIR' in done.stderr


def test_a_node_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = NodeProcess('camera_node', tmp_path, {'source': '/nowhere/film.mp4'}, {})
    process.start()
    assert process.wait(30.0) == exit_codes.UNUSABLE
    with pytest.raises(NodeStopped, match='/nowhere/film.mp4'):
        process.check()
    process.stop()


def test_parameters_go_before_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    source: /nowhere/of_the_file.mp4\n    rate: -1.0\n'
    )
    process = NodeProcess('camera_node', tmp_path, {'rate': 5.0}, {}, [file])
    process.start()
    assert process.wait(30.0) == exit_codes.UNUSABLE
    assert 'of_the_file' in process.tail() and 'rate' not in process.tail()


@needs_mujoco
@needs_model
@pytest.mark.slow
def test_captions_of_a_fleet_go_on_when_its_server_is_killed_and_comes_back(
    tmp_path: Path,
) -> None:
    pytest.importorskip('aiohttp')
    done = demo(tmp_path, '--fleet', seconds=240)
    assert done.returncode == exit_codes.DONE, done.stdout + done.stderr
    for robot in ('robot1', 'robot2'):
        row = re.search(
            rf'^{robot}  served: .*longest pause ([\d.]+) s$', done.stdout, re.MULTILINE
        )
        assert row, done.stdout
        by = [int(count) for count in re.findall(r'(\d+) from', row[0])]
        assert len(by) == 6 and by[0] >= 3, 'the server answers'
        assert by[2] == 0 and by[3] >= 3, 'the own model stands in'
        assert by[4] >= 3, 'the server answers again'
    assert 'unreachable' in done.stdout or 'broken off' in done.stdout
