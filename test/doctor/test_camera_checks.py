# SPDX-License-Identifier: Apache-2.0
"""What `penguin doctor` hears of cameras on the air."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from support.graph import Graph

CAMERA = 'penguin_ros.ros.camera_node.main'


def doctor(graph: Graph, *words: str) -> dict[str, dict[str, str]]:
    command = [sys.executable, '-m', 'penguin_ros.cli.main', 'doctor', '--json', *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'ROS_DOMAIN_ID': str(graph.domain.number)},
    )
    return {finding['topic']: finding for finding in json.loads(done.stdout)}


@pytest.mark.slow
def test_lost_raw_frames_are_a_fault_with_the_profile_as_remedy_and_whole_ones_are_not(
    fresh_graph: Graph, video_path: Path
) -> None:
    bare = {'FASTRTPS_DEFAULT_PROFILES_FILE': '', 'FASTDDS_DEFAULT_PROFILES_FILE': ''}
    cameras = [
        fresh_graph.start(
            CAMERA,
            parameters={'source': str(video_path), 'width': 1280},
            arguments=('-r', f'__ns:=/{name}'),
            environment=environment,
        )
        for name, environment in (('bare', bare), ('whole', {}))
    ]
    fresh_graph.wait_for(
        lambda: all(
            fresh_graph.node.count_publishers(f'/{name}/image') for name in ('bare', 'whole')
        ),
        30,
    )
    findings = doctor(fresh_graph, '--seconds', '4')
    for camera in cameras:
        camera.stop()
    assert (
        findings['/bare/image']['state'] == 'fault'
        and 'fastdds_images.xml' in findings['/bare/image']['text']
    )
    assert (
        'Hz' in findings['/whole/image']['text']
        and 'fastdds_images.xml' not in findings['/whole/image']['text']
    )


@pytest.mark.slow
def test_a_quiet_domain_is_a_note_not_a_fault(fresh_graph: Graph) -> None:
    findings = doctor(fresh_graph, '--seconds', '0.1')
    assert findings['cameras']['state'] == 'note'
