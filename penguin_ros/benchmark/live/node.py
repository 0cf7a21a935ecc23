# SPDX-License-Identifier: Apache-2.0
"""The node over real topics: a camera, captions, a question now and then, and what that costs.

Camera and node are processes on a ROS_DOMAIN_ID of their own. Everything is counted from outside:
from the messages of the node, and from its process in /proc. This is the only file of the
benchmarks that uses ROS; all of it runs on the thread that spins the session.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.benchmark.live.scenes import CAMERA, CHANGING, stream, write_video
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.benchmark.live.texts import live_config
from penguin_ros.benchmark.machine import process_usage
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import DeadlineExceeded
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.settings import changed_values

NAMESPACE = '/penguin_bench'
NODE = f'{NAMESPACE}/penguin'
WIDTH, HEIGHT, RATE_HZ, VIDEO_S = 640, 480, 15.0, 16
QUESTION_PERIOD_S, WATCH_PERIOD_S = 5.0, 1.0
QUESTIONS = (
    'What is moving?',
    'How many things are there?',
    'Which way does it move?',
    'What is the largest thing?',
)
START_LIMIT_S, ANSWER_LIMIT_S, DISCOVERY_S = 300.0, 60.0, 30.0
WARM_UP_S = 35.0
"""After so long the buffer, of 30 s by default, is full; a measurement of less than twice that
warms up for half of its length.
"""

Spin = Callable[[Callable[[], bool], float], bool]
"""`spin(is_done, limit_s)` runs callbacks until done or for so long, and returns whether it is
done.
"""


@dataclass(frozen=True)
class NodeTask:
    """The `target` that the node runs, the `seconds` of the measurement, and the `video` that the
    camera shows, '' for a simulated one.
    """

    target: Target
    seconds: float = 120.0
    video: str = ''


@dataclass(eq=False)
class NodeObservations:
    """What was seen since the beginning of the measurement: messages of the node, the seconds to
    the first tokens, and `usage`, which has (steady seconds, processor seconds, resident bytes).
    """

    captions: list[Any] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    first_tokens_s: list[float] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    unanswered: int = 0
    usage: list[tuple[float, float, int]] = field(default_factory=list)


def node_record(task: NodeTask) -> JsonObject:
    """Runs camera and node, asks and counts; NodeStopped when one of them ends too early."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    given = changed_values(PenguinConfig(), live_config(task.target))
    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        video, source = _video(task, Path(folder))
        camera = NodeProcess(
            'camera_node',
            Path(folder),
            {'source': str(video), 'loop': True, 'rate': RATE_HZ},
            {'image': f'{CAMERA}/image', '__ns': NAMESPACE},
        )
        parameters = {
            'caption.period': 1.0,
            **given,
            'cameras': [CAMERA],
            f'camera.{CAMERA}.topic': f'{CAMERA}/image',
        }
        penguin = NodeProcess('penguin_node', Path(folder), parameters, {'__ns': NAMESPACE})
        try:
            camera.start()
            penguin.start()
            seen, elapsed_s = _watched(task, camera, penguin)
        finally:
            penguin.stop()
            camera.stop()
        return {
            'error': None,
            'seconds': elapsed_s,
            'film': source,
            'settings': parameters,
            'exit_code': penguin.exit_code,
            **figures(seen, elapsed_s),
        }


def _video(task: NodeTask, folder: Path) -> tuple[Path, str]:
    """The video that the camera shows, and where it is from. Simulated scenes are drawn before, so
    that drawing them takes no time from the node.
    """
    if task.video:
        return Path(task.video).resolve(), Path(task.video).name
    status_line('drawing what the camera shows')
    shown = stream(CHANGING, VIDEO_S, RATE_HZ, (WIDTH, HEIGHT))
    images = [frame.image for frame in shown.frames]
    return write_video(folder / 'film.mp4', images, RATE_HZ), shown.source


def _watched(
    task: NodeTask, camera: NodeProcess, penguin: NodeProcess
) -> tuple[NodeObservations, float]:
    """Waits for the first caption, warms up and measures; returns the seconds that it took, too."""
    from penguin_ros.ros.client.question_client import QuestionClient
    from penguin_ros.ros.client.session import session

    seen = NodeObservations()
    with session('penguin_bench_watch') as watch:
        _subscribe(watch.node, seen)

        def spin(is_done: Callable[[], bool], limit_s: float) -> bool:
            end = time.monotonic() + limit_s
            while not is_done() and time.monotonic() < end:
                watch.spin_until(is_done, min(WATCH_PERIOD_S, max(0.0, end - time.monotonic())))
                for process in (camera, penguin):
                    process.check()
            return is_done()

        status_line('waiting for the first caption')
        if not spin(lambda: bool(seen.captions), START_LIMIT_S):
            raise DeadlineExceeded('the node made no caption', penguin.tail(), 'penguin doctor')
        client = QuestionClient(watch, watch.find_node(NODE, DISCOVERY_S))
        spin(lambda: False, min(WARM_UP_S, task.seconds / 2))
        _ask(client, seen, 0)
        seen.captions.clear()
        seen.first_tokens_s.clear()
        seen.answers.clear()
        status_line(f'measuring for {task.seconds:g} s')
        return seen, _measured(task.seconds, client, penguin, seen, spin)


def _subscribe(node: Any, seen: NodeObservations) -> None:
    from penguin_msgs.msg import Caption, Status
    from rclpy.qos import QoSProfile

    node.create_subscription(
        Caption, f'{NODE}/caption', seen.captions.append, QoSProfile(depth=256)
    )
    node.create_subscription(Status, f'{NODE}/status', seen.statuses.append, QoSProfile(depth=16))


def _measured(
    seconds: float, client: Any, penguin: NodeProcess, seen: NodeObservations, spin: Spin
) -> float:
    """Asks at every period, or as soon as the last answer is there; returns the seconds it took."""
    start = time.monotonic()
    seen.statuses[:-1] = []
    asked = 0
    next_s = start + QUESTION_PERIOD_S / 2
    end = start + seconds
    while (now := time.monotonic()) < end:
        seen.usage.append((now - start, *process_usage(penguin.pid)))
        if now >= next_s:
            next_s += QUESTION_PERIOD_S
            asked += 1
            _ask(client, seen, asked)
        else:
            spin(lambda: False, min(WATCH_PERIOD_S, next_s - now, end - now))
    seen.usage.append((time.monotonic() - start, *process_usage(penguin.pid)))
    spin(lambda: False, WATCH_PERIOD_S)  # for the status that counts it all
    return seen.usage[-1][0]


def _ask(client: Any, seen: NodeObservations, number: int) -> None:
    """Asks and waits for the whole answer. The first piece of text is timed here, where it comes
    back over the action.
    """
    from penguin_ros.ros.client.question_client import AskedQuestion

    start = time.monotonic()
    firsts: list[float] = []

    def note(so_far: str) -> None:
        if not firsts:
            firsts.append(time.monotonic() - start)

    question = AskedQuestion(QUESTIONS[number % len(QUESTIONS)], deadline_s=ANSWER_LIMIT_S)
    try:
        answer = client.ask(question, note, ANSWER_LIMIT_S)
    except DeadlineExceeded:
        seen.unanswered += 1
        return
    seen.answers.append(answer)
    seen.first_tokens_s += firsts[:1]


def figures(seen: NodeObservations, elapsed_s: float) -> JsonObject:
    """Rates, latencies and usage of the measured time; memory as the medians of its first and last
    quarter.
    """
    from penguin_ros.ros.client.message_dict import duration_seconds

    good = [caption for caption in seen.captions if not caption.error_code]
    inside = [
        duration_seconds(answer.evidence.first_token_latency)
        for answer in seen.answers
        if not answer.error_code
    ]
    usage = np.array(seen.usage)
    quarter = max(1, len(usage) // 4)
    first, last = seen.statuses[0], seen.statuses[-1]
    return {
        'captions': len(good),
        'captions_hz': len(good) / elapsed_s,
        'caption_errors': len(seen.captions) - len(good),
        'captions_replaced': last.captions_replaced - first.captions_replaced,
        'captions_dropped': last.captions_dropped - first.captions_dropped,
        'captions_unchanged': last.captions_unchanged - first.captions_unchanged,
        'questions': len(seen.answers) + seen.unanswered,
        'answered': len(inside),
        'first_token': spread(seen.first_tokens_s),
        'first_token_in_node': spread(inside),
        'camera_hz': last.cameras[0].rate_hz if last.cameras else None,
        'cpu_percent': 100 * float(usage[-1, 1] - usage[0, 1]) / elapsed_s,
        'resident_start': float(np.median(usage[:quarter, 2])),
        'resident_end': float(np.median(usage[-quarter:, 2])),
        'resident_highest': float(usage[:, 2].max()),
    }


def spread(values: Sequence[float]) -> JsonObject | None:
    """The median, the 95th percentile and the largest of the values; None without values."""
    if not values:
        return None
    return {
        'count': len(values),
        'p50': float(np.percentile(values, 50)),
        'p95': float(np.percentile(values, 95)),
        'max': max(values),
    }
