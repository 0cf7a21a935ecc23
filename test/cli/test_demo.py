# SPDX-License-Identifier: Apache-2.0
"""The demo, as a user runs it: processes, topics, a real video."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocked_libraries import environment_without

from penguin_ros.cli import exits
from penguin_ros.cli.demo_video import FPS, SECONDS, draw_video
from penguin_ros.cli.node_process import NodeProcess, NodeStopped
from penguin_ros.recording.video import VideoRecording

pytest.importorskip('penguin_msgs.msg')


pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')


def demo(folder: Path, *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """In processes in which torch cannot be imported."""
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1', 'XDG_CACHE_HOME': str(folder / 'cache'),
                   **environment_without(folder / 'blocked', 'torch')}
    return subprocess.run([sys.executable, '-m', 'penguin_ros.cli.main', 'demo', '--seconds', str(seconds), *words],
                          capture_output=True, text=True, timeout=seconds + 60, env=environment)


@pytest.mark.slow
def test_real_video_through_the_whole_graph(golden_dir: Path, video_path: Path, tmp_path: Path) -> None:
    done = demo(tmp_path, '--checkpoint', str(golden_dir / 'checkpoint'), '--video', str(video_path), '--question', 'Who walks?',
                seconds=40)
    assert done.returncode == exits.DONE, done.stdout + done.stderr
    assert re.search(r'^camera \[\d+\.\d{3} – \d+\.\d{3}\] ', done.stdout, re.MULTILINE)
    assert 'Q: Who walks?\nA: ' in done.stdout
    seen, named = (int(number) for number in re.search(r'(\d+) of (\d+) frames named as evidence', done.stdout).groups())
    assert seen == named > 0


@pytest.mark.slow
def test_without_arguments_it_draws_a_video_and_makes_a_random_network_and_says_so(tmp_path: Path) -> None:
    done = demo(tmp_path, seconds=30)
    assert done.returncode == exits.DONE, done.stdout + done.stderr
    assert 'no --checkpoint' in done.stderr and 'random weights' in done.stderr and 'no --video' in done.stderr


def test_too_little_time_for_a_caption_is_a_failure_not_a_success(golden_dir: Path, tmp_path: Path) -> None:
    done = demo(tmp_path, '--checkpoint', str(golden_dir / 'checkpoint'), seconds=0.5)
    assert done.returncode == exits.FAILED
    assert '0 captions and no answer' in done.stdout


def test_missing_video_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, '--video', '/nowhere/film.mp4', seconds=5)
    assert done.returncode == exits.UNUSABLE
    assert '/nowhere/film.mp4' in done.stderr


def test_drawn_video_moves(tmp_path: Path) -> None:
    frames = [image for _, image in VideoRecording(draw_video(tmp_path / 'drawn.mp4')).frames()]
    assert len(frames) == FPS * SECONDS
    assert abs(frames[0].astype(int) - frames[-1]).max() > 100


def test_a_node_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = NodeProcess('camera_node', tmp_path, {'source': '/nowhere/film.mp4'}, {})
    process.start()
    assert process.wait(30.0) == exits.UNUSABLE
    with pytest.raises(NodeStopped, match='/nowhere/film.mp4'):
        process.check()
    process.stop()
