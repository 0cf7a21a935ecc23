# SPDX-License-Identifier: Apache-2.0
"""The node over real topics: a camera, captions, a question now and then, and what that costs.
Knows nodes as processes.

Everything runs on a ROS_DOMAIN_ID of its own. What is counted is seen from outside: messages of the
node, its process in /proc.

Writes pictures as a video file, for a camera that shows them. Knows nothing else.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.benchmark.live.scenes import CAMERA, CHANGING, stream
from penguin_ros.benchmark.live.tasks import Record
from penguin_ros.benchmark.live.texts import live_config
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import DeadlineExceeded
from penguin_ros.frame import Image
from penguin_ros.media.video import MediaError
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.settings import changed_values


def write_video(path: Path, images: Sequence[Image], fps: float) -> Path:
    """Writes pictures of one size, at least one, as `path` (.mp4); MediaError when this OpenCV
    has no encoder.
    """
    import cv2

    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise MediaError(
            'cannot write a video', 'this OpenCV has no mp4v encoder', 'Give one with --video FILE'
        )
    for picture in images:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path


NAMESPACE = '/penguin_bench'
NODE = f'{NAMESPACE}/penguin'
WIDTH, HEIGHT, RATE_HZ, FILM_S = 640, 480, 15.0, 16
QUESTION_PERIOD_S, WATCH_PERIOD_S = 5.0, 1.0
QUESTIONS = (
    'What is moving?',
    'How many things are there?',
    'Which way does it move?',
    'What is the largest thing?',
)
START_LIMIT_S, ANSWER_LIMIT_S, DISCOVERY_S = 300.0, 60.0, 30.0
WARM_UP_S = 35.0
"""Then the buffer, of 30 s by default, is full; half of the measurement's length where that is
less.
"""

TICKS_PER_S = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class NodeTask:
    """`target`: what the node runs, on its backend; `seconds` of measurement; `video`: what the
    camera shows, '': simulated.
    """

    target: Target
    seconds: float = 120.0
    video: str = ''


@dataclass(eq=False)
class Seen:
    """`usage`: (steady seconds, processor seconds, resident bytes) of the node, from the beginning
    of the measurement.
    """

    captions: list[Any] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    first_tokens_s: list[float] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    unanswered: int = 0
    usage: list[tuple[float, float, int]] = field(default_factory=list)


def node_record(task: NodeTask) -> Record:
    """Runs camera and node, asks, counts; NodeStopped when one of them ends before."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    config = live_config(task.target)
    given = changed_values(PenguinConfig(), config)
    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        film, source = _film(task, Path(folder))
        camera = NodeProcess(
            'camera_node',
            Path(folder),
            {'source': str(film), 'loop': True, 'rate': RATE_HZ},
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


def _film(task: NodeTask, folder: Path) -> tuple[Path, str]:
    """The simulated scenes as a film, so that drawing them takes no time from the node."""
    if task.video:
        return Path(task.video).resolve(), Path(task.video).name
    status_line('drawing what the camera shows')
    shown = stream(CHANGING, FILM_S, RATE_HZ, (WIDTH, HEIGHT))
    return write_video(
        folder / 'film.mp4', [frame.image for frame in shown.frames], RATE_HZ
    ), shown.source


def _watched(task: NodeTask, camera: NodeProcess, penguin: NodeProcess) -> tuple[Seen, float]:
    from penguin_msgs.msg import Caption, Status
    from rclpy.qos import QoSProfile

    from penguin_ros.ros.client.question_client import QuestionClient
    from penguin_ros.ros.client.session import session

    seen = Seen()
    with session('penguin_bench_watch') as watch:
        watch.node.create_subscription(
            Caption, f'{NODE}/caption', seen.captions.append, QoSProfile(depth=256)
        )
        watch.node.create_subscription(
            Status, f'{NODE}/status', seen.statuses.append, QoSProfile(depth=16)
        )

        def spin(is_done: Any, limit_s: float) -> bool:
            end = time.monotonic() + limit_s
            while not is_done() and time.monotonic() < end:
                watch.spin_until(is_done, min(WATCH_PERIOD_S, max(0.0, end - time.monotonic())))
                for process in (camera, penguin):
                    process.check()
            return bool(is_done())

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


def _measured(seconds: float, client: Any, penguin: NodeProcess, seen: Seen, spin: Any) -> float:
    """Asks at every period, or as soon as the last answer is there; seconds that it took."""
    start = time.monotonic()
    seen.statuses[:-1] = []
    asked = 0
    next_s, end = start + QUESTION_PERIOD_S / 2, start + seconds
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


def _ask(client: Any, seen: Seen, number: int) -> None:
    """Asks, waits for the whole answer; the first piece of text is timed here, on the way back over
    the action.
    """
    from penguin_ros.ros.client.question_client import AskedQuestion

    start, firsts = time.monotonic(), list[float]()

    def text(so_far: str) -> None:
        if not firsts:
            firsts.append(time.monotonic() - start)

    try:
        answer = client.ask(
            AskedQuestion(QUESTIONS[number % len(QUESTIONS)], deadline_s=ANSWER_LIMIT_S),
            text,
            ANSWER_LIMIT_S,
        )
    except DeadlineExceeded:
        seen.unanswered += 1
        return
    seen.answers.append(answer)
    seen.first_tokens_s += firsts[:1]


def process_usage(pid: int) -> tuple[float, int]:
    """Processor seconds of all threads of a process so far, and its resident bytes."""
    stat = Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()
    pages = int(Path(f'/proc/{pid}/statm').read_text(encoding='utf-8').split()[1])
    return (int(stat[11]) + int(stat[12])) / TICKS_PER_S, pages * os.sysconf('SC_PAGE_SIZE')


def figures(seen: Seen, elapsed_s: float) -> Record:
    """Rates, latencies and usage of the measured time; memory as medians of its first and last
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


def spread(values: Sequence[float]) -> Record | None:
    """p50, p95 and largest; None of no value."""
    if not values:
        return None
    return {
        'count': len(values),
        'p50': float(np.percentile(values, 50)),
        'p95': float(np.percentile(values, 95)),
        'max': max(values),
    }
