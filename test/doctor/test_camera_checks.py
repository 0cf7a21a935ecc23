# SPDX-License-Identifier: Apache-2.0
"""What `penguin doctor` hears of cameras on the air."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import Image
from support.graph import Graph, image_message

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


@pytest.mark.slow
def test_what_the_node_would_say_of_a_camera_the_doctor_says_too(fresh_graph: Graph) -> None:
    topics = ('constant', 'boot', 'distances', 'good')
    publishers = {
        name: fresh_graph.node.create_publisher(Image, f'/{name}/image', 10) for name in topics
    }
    start_ns = time.time_ns()
    is_over = threading.Event()

    def publish() -> None:
        number = 0
        while not is_over.wait(0.1):
            number += 1
            for name, publisher in publishers.items():
                stamps = {'constant': start_ns, 'boot': time.monotonic_ns()}
                message = image_message(number, stamps.get(name) or time.time_ns())
                if name == 'distances':
                    message.encoding = '32FC1'
                publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        findings = doctor(fresh_graph, '--seconds', '8')
    finally:
        is_over.set()
        thread.join()
    assert findings['/good/image']['state'] == 'ok'
    for name, words in (
        ('constant', 'the stamp'),
        ('boot', 'from the start of the camera'),
        ('distances', 'the topic of the colour image'),
    ):
        finding = findings[f'/{name}/image']
        assert finding['state'] == 'fault' and words in finding['text'], finding
