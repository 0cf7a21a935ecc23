# SPDX-License-Identifier: Apache-2.0
"""What a memory node costs beside a penguin node, for a long while: processor, memory, bytes on the
disk, and whether anything was lost.

The node is the real one, in a process of its own. What a penguin node would publish is published by
this script, on time and without a model's load: captions of the simulated world's length at a given
rate, each of a clip that ended one and a half seconds before, transforms at 50 Hz, and, with
--pictures, a camera of 640 x 480 at 10 Hz whose frames the captions name. Processor time and bytes
are those that the system counts for the process; what was stored is counted when the node has
ended, by reading its store.

    source scripts/env.sh
    python benchmarks/memory_node.py --seconds 3600 --json hour.json
    python benchmarks/memory_node.py --seconds 3600 --pictures
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

SECOND = 10**9
LATENCY_NS = 3 * SECOND // 2
CLIP_NS = 4 * SECOND
WARM_UP_S = 60.0
"""What happens before is left out of the processor's share and of the growth of memory."""
SAMPLE_S = 10.0
TF_HZ, CAMERA_HZ = 50, 10
_WORDS = (
    ('A red', 'A blue', 'A green', 'A yellow', 'A white', 'An orange'),
    ('box', 'ball', 'cylinder', 'cone', 'robot', 'chair'),
    ('stands left of', 'moves to the right behind', 'rolls past', 'comes near', 'leaves'),
    ('a red', 'a blue', 'a green', 'a yellow', 'a white', 'an orange'),
    ('box', 'ball', 'cylinder', 'cone', 'robot', 'chair'),
    ('while the camera turns left.', 'and nothing else is there.', 'in front of a grey wall.'),
)


@dataclass(frozen=True)
class Sample:
    """The node's process at one moment, `seconds` after it began to hear."""

    seconds: float
    cpu_s: float
    rss_kib: int
    written_bytes: int


def sample(pid: int, start: float) -> Sample:
    """Reads what the system counts for a process."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f'/proc/{pid}/status').read_text()
    rss = next(line for line in status.splitlines() if line.startswith('VmRSS'))
    io = dict(line.split(': ') for line in Path(f'/proc/{pid}/io').read_text().splitlines())
    return Sample(
        time.monotonic() - start,
        ticks / os.sysconf('SC_CLK_TCK'),
        int(rss.split()[1]),
        int(io['write_bytes']),
    )


def caption_text(number: int) -> str:
    """Returns a caption of one or two sentences, with a number so that no two are equal."""
    chance = random.Random(number)
    sentences = [' '.join(chance.choice(part) for part in _WORDS) for _ in range(2)]
    return f'{" ".join(sentences)} Number {number}.'


class Speaker:
    """Publishes what a penguin node, a robot and a camera do, on time."""

    def __init__(self, with_pictures: bool, rate: float) -> None:
        from penguin_ros.ros.process.image_profile import use_image_profile

        use_image_profile()
        import rclpy
        from penguin_msgs.msg import CameraStatus, Caption, Status
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import Image
        from support.built_messages import import_messages

        self._tf_message = import_messages('tf2_msgs').TFMessage
        rclpy.init()
        self._node = rclpy.create_node('penguin')
        self._caption = self._node.create_publisher(Caption, '~/caption', 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self._node.create_publisher(Status, '~/status', latched)
        camera = CameraStatus(name='front', topic='/camera/image', transport='raw')
        self._status.publish(Status(cameras=[camera]))
        self._tf = self._node.create_publisher(self._tf_message, '/tf', 100)
        self._image = self._node.create_publisher(Image, '/camera/image', 1)
        self._with_pictures = with_pictures
        self._period_ns = round(SECOND / rate)
        self._frames: list[int] = []
        self.said = 0

    def wait_until_heard(self, seconds: float = 30.0) -> None:
        """Waits for the memory node's subscriptions."""
        end = time.monotonic() + seconds
        while not self._caption.get_subscription_count():
            if time.monotonic() > end:
                raise SystemExit('the memory node does not listen')
            time.sleep(0.1)
        time.sleep(1.0)

    def speak(self, seconds: float, process: subprocess.Popen[bytes], start: float) -> list[Sample]:
        """Publishes for so long, and samples the process meanwhile."""
        due = {'tf': 0.0, 'image': 0.0, 'caption': 2.0, 'sample': 0.0}
        samples: list[Sample] = []
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            if process.poll() is not None:
                raise SystemExit(f'the memory node ended with {process.returncode}')
            for name, period, act in (
                ('tf', 1 / TF_HZ, self._move),
                ('image', 1 / CAMERA_HZ, self._film),
                ('caption', self._period_ns / SECOND, self._say),
                ('sample', SAMPLE_S, lambda: samples.append(sample(process.pid, start))),
            ):
                if now >= due[name]:
                    due[name] += period
                    act()
            time.sleep(max(0.0, min(due.values()) - (time.monotonic() - begun)))
        return samples

    def _say(self) -> None:
        from penguin_msgs.msg import Caption, FrameRef

        from penguin_ros.ros.conversions.times import time_message

        end = time.time_ns() - LATENCY_NS
        message = Caption(camera='front', text=caption_text(self.said))
        named = [each for each in self._frames if end - CLIP_NS <= each <= end][::5]
        stamps = named or [end - CLIP_NS + each * SECOND // 2 for each in range(8)]
        message.evidence.frames = [
            FrameRef(stamp=time_message(each), camera='front') for each in stamps
        ]
        message.evidence.start, message.evidence.end = map(time_message, (stamps[0], stamps[-1]))
        message.evidence.model_name = 'penguin_sim'
        message.evidence.model_digest = '0' * 64
        message.header.stamp = message.evidence.end
        self._caption.publish(message)
        self.said += 1

    def _move(self) -> None:
        from geometry_msgs.msg import TransformStamped

        from penguin_ros.ros.conversions.times import time_message

        now = time.time_ns()
        moved = TransformStamped(child_frame_id='base_link')
        moved.header.frame_id = 'map'
        moved.header.stamp = time_message(now)
        moved.transform.translation.x = now % (100 * SECOND) / SECOND
        self._tf.publish(self._tf_message(transforms=[moved]))

    def _film(self) -> None:
        if not self._with_pictures:
            return
        import array

        import numpy as np
        from sensor_msgs.msg import Image

        from penguin_ros.ros.conversions.times import time_message

        now = time.time_ns()
        pixels = np.full((480, 640, 3), 60, np.uint8)
        left = now // 10**8 % 560
        pixels[100:300, left : left + 80] = (250, 180, 30)
        message = Image(height=480, width=640, encoding='rgb8', step=1920)
        message.data = array.array('B', pixels.tobytes())
        message.header.stamp = time_message(now)
        self._image.publish(message)
        self._frames = [*self._frames[-200:], now]


def started(folder: Path, with_pictures: bool, more: list[str]) -> subprocess.Popen[bytes]:
    """Starts the memory node; `more` are parameters as NAME:=VALUE."""
    from support.built_messages import messages_environment

    words = [f'folder:={folder}', f'picture.enabled:={str(with_pictures).lower()}']
    words += more
    command = [sys.executable, '-m', 'penguin_ros.ros.memory_node.main', '--ros-args']
    command += [part for word in words for part in ('-p', word)]
    environment = {**os.environ, **messages_environment('tf2_msgs')}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)


def figures(samples: list[Sample], said: int, folder: Path) -> dict[str, Any]:
    """Returns what was measured and what is in the store."""
    from penguin_ros.memory.filter import Filter
    from penguin_ros.memory.store import Store

    warm = next((each for each in samples if each.seconds >= WARM_UP_S), samples[0])
    last = samples[-1]
    seconds = max(1e-9, last.seconds - warm.seconds)
    with Store.open(folder, is_read_only=True) as store:
        stats = store.stats()
        newest = store.recall(Filter(limit=1)).hits
    files = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    return {
        'seconds': round(last.seconds),
        'captions said': said,
        'captions stored': stats.entries['caption'],
        'newest has a pose': bool(newest and newest[0].entry.pose),
        'pictures stored': stats.pictures,
        'cpu_percent_of_a_core': round(100 * (last.cpu_s - warm.cpu_s) / seconds, 2),
        'rss_mib_after_warm_up': round(warm.rss_kib / 1024, 1),
        'rss_mib_at_end': round(last.rss_kib / 1024, 1),
        'rss_mib_highest': round(max(each.rss_kib for each in samples) / 1024, 1),
        'written_mb_per_day': round(
            (last.written_bytes - warm.written_bytes) / seconds * 0.0864, 1
        ),
        'store_bytes': files,
        'store_bytes_per_caption': round(files / max(1, said)),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--seconds', type=float, default=3600.0)
    parser.add_argument('--rate', type=float, default=1.0, help='captions per second')
    parser.add_argument('--pictures', action='store_true')
    parser.add_argument(
        '--set', action='append', default=[], metavar='NAME:=VALUE', help='a parameter of the node'
    )
    parser.add_argument('--folder', type=Path, help='for the store (default: a temporary one)')
    parser.add_argument('--json', type=Path, help='write figures and samples there')
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix='memory_node_'))
    process = started(folder, arguments.pictures, arguments.set)
    start = time.monotonic()
    try:
        speaker = Speaker(arguments.pictures, arguments.rate)
        speaker.wait_until_heard()
        samples = speaker.speak(arguments.seconds, process, start)
        time.sleep(2.0)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10.0)
    found = figures(samples, speaker.said, folder)
    if arguments.json:
        told = {'figures': found, 'samples': [asdict(each) for each in samples]}
        arguments.json.write_text(json.dumps(told, indent=1))
    for name, value in found.items():
        print(f'{name:30} {value}')
    sys.stdout.flush()
    os._exit(0)  # the middleware's threads have nothing left to do


if __name__ == '__main__':
    main()
