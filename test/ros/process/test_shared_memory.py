# SPDX-License-Identifier: Apache-2.0
"""What Fast DDS shares is removed for this process only, by the locks that the kernel lists."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.ros.process import shared_memory


def segment(folder: Path, name: str) -> Path:
    (folder / name).write_bytes(b'pixels')
    (folder / f'{name}_el').touch()
    (folder / f'sem.{name}_mutex').touch()
    return folder / f'{name}_el'


def test_own_segments_and_ports_go_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)
    own = [segment(tmp_path, name) for name in ('fastrtps_1a', 'fastdds_port7', 'other_1')]
    segment(tmp_path, 'fastrtps_2b')
    files = [path.open('rb') for path in own]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    if not shared_memory._locked_inodes():
        pytest.skip('the kernel lists no locks of this process')
    assert shared_memory.remove_own_segments() == ('fastdds_port7', 'fastrtps_1a')
    left = {path.name for path in tmp_path.iterdir()}
    assert {'fastrtps_2b', 'fastrtps_2b_el', 'other_1', 'sem.other_1_mutex'} == left - {
        'sem.fastrtps_2b_mutex',
        'other_1_el',
    }
    for file in files:
        file.close()


def test_where_the_kernel_does_not_tell_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)
    monkeypatch.setattr(shared_memory, 'LOCKS', tmp_path / 'absent')
    segment(tmp_path, 'fastrtps_1a')
    assert shared_memory.remove_own_segments() == ()
    assert (tmp_path / 'fastrtps_1a').exists()


STUCK = """
import os, sys, time
from penguin_ros.ros.process import stop_signal
stop_signal.LIMIT_S = 0.3
stop = stop_signal.StopSignal('camera_node')
stop.install()
import rclpy
rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
node = rclpy.create_node('stuck')
stop.enter('an image')
print('ready', flush=True)
time.sleep(60)
"""


def test_a_node_that_is_stuck_leaves_no_shared_memory_behind_and_names_what_it_was_busy_with(
    ros_domain: object,
) -> None:
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    process = subprocess.Popen(
        [sys.executable, '-c', STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == 'ready\n'
    links = Path(f'/proc/{process.pid}/fd').iterdir()
    targets = [os.readlink(link) for link in links]
    locks = [Path(target) for target in targets if '/fast' in target and target.endswith('_el')]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert 'camera_node: ' in error and 'still busy with an image' in error
    assert process.returncode == 0
    if not locks:
        pytest.skip('this middleware shares no memory by files that can be told')
    assert not [path for path in locks if path.exists()]
