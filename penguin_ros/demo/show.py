# SPDX-License-Identifier: Apache-2.0
"""One demo from start to end: nodes start, captions and an answer are watched, nodes stop.

Everything runs on the thread that calls `run_demo`, which also spins the session.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from penguin_ros.console import print_line, status_line
from penguin_ros.demo.nodes import (
    IMAGE_TOPIC,
    NAMESPACE,
    NODE,
    TRUTH_TOPIC,
    DemoSettings,
    demo_nodes,
)
from penguin_ros.demo.sheet import write_sheet
from penguin_ros.demo.watch import DemoTopics, DemoWatch
from penguin_ros.demo.world import WorldWatch
from penguin_ros.ros.client.session import session

VIDEO_QUESTION = 'What is moving, and which way?'


def run_demo(settings: DemoSettings) -> bool:
    """Shows the demo on a ROS_DOMAIN_ID of its own, unless one is set; returns whether at least one
    caption and the answer arrived.
    """
    # Keeps the demo apart from robots and from other demos.
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    with (
        tempfile.TemporaryDirectory(prefix='penguin_demo_') as folder,
        demo_nodes(settings, Path(folder)) as nodes,
    ):
        end = time.monotonic() + settings.seconds  # building a bundle may have taken longer
        topics = DemoTopics(nodes, NODE, f'{NAMESPACE}/{IMAGE_TOPIC}', end)
        return _watch_video(settings, topics) if settings.video else _watch_world(settings, topics)


def _watch_video(settings: DemoSettings, topics: DemoTopics) -> bool:
    with session('penguin_demo_watch') as watch_session:
        watch = DemoWatch(watch_session, topics, settings.question or VIDEO_QUESTION)
        _run(watch)
    watch.print_summary()
    return watch.is_complete


def _watch_world(settings: DemoSettings, topics: DemoTopics) -> bool:
    from penguin_ros.simulation.world import World

    with World() as world, session('penguin_demo_watch') as watch_session:
        watch = WorldWatch(watch_session, topics, settings.question, TRUTH_TOPIC, world)
        _run(watch)
    watch.print_summary()
    if watch.shown:
        print_line(f'image of the first scenes: {write_sheet(watch.sheet(), settings.sheet)}')
    return watch.is_complete


def _run(watch: DemoWatch) -> None:
    try:
        watch.run()
    except KeyboardInterrupt:
        status_line('interrupted')
