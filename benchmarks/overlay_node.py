# SPDX-License-Identifier: Apache-2.0
"""What the overlay node and the record node cost: processor of each process while nobody looks and
while somebody does, beside a camera of 640 x 480 raw pictures at 10 Hz with a caption per second.

The nodes are the real ones, in processes of their own; what a penguin node would publish is
published by this script. Processor time is that which the system counts for the process.

    source scripts/env.sh
    python benchmarks/overlay_node.py --seconds 20
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

SIZE = (640, 480)
TEXT = 'A red box stands left of a green ball while a blue cone moves slowly to the right.'
WARM_UP_S = 3.0


def cpu_s(pid: int) -> float:
    """Returns the processor time of a process."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Bench:
    """A penguin node's topics and the two nodes that listen to them."""

    def __init__(self, folder: Path, seconds: float) -> None:
        from penguin_ros.ros.process.image_profile import use_image_profile

        use_image_profile()  # else large raw pictures get lost
        from support.built_messages import messages_environment
        from support.graph import Graph
        from support.penguin_topics import PenguinTopics

        self._seconds = seconds
        self._graph = Graph(folder)
        self._topics = PenguinTopics(self._graph, SIZE)
        self._names = ('-r', '__ns:=/r1')
        environment = messages_environment('foxglove_msgs', 'rviz_2d_overlay_msgs')
        self._overlay = self._graph.start(
            'penguin_ros.ros.overlay_node.main', arguments=self._names, environment=environment
        )
        self._topics.wait_for_listener()
        self._graph.node.create_timer(0.1, self._topics.frame)
        self._graph.node.create_timer(1.0, lambda: self._topics.say(TEXT, clip_s=1.0))

    def run(self, folder: Path) -> None:
        """Measures and prints a line for each state."""
        from sensor_msgs.msg import CompressedImage, Image
        from support.built_messages import import_messages

        annotations = import_messages('foxglove_msgs').ImageAnnotations
        print(f'overlay node, nobody looks: {self._share(self._overlay):.2f} % of a core')
        for what, kind, topic in (
            ('annotations', annotations, 'annotations'),
            ('raw picture', Image, 'annotated'),
            ('JPEG picture', CompressedImage, 'annotated/compressed'),
        ):
            seen: list[Any] = []
            looked = self._graph.node.create_subscription(
                kind, f'/r1/overlay/front/{topic}', seen.append, 10
            )
            share = self._share(self._overlay)
            print(
                f'overlay node, {what}: {share:.2f} % of a core '
                f'at {len(seen) / (self._seconds + WARM_UP_S):.1f} per second'
            )
            self._graph.node.destroy_subscription(looked)
        recorder = self._graph.start(
            'penguin_ros.ros.record_node.main',
            parameters={'folder': str(folder / 'drive')},
            arguments=self._names,
        )
        recorder.wait_for_log('records')
        print(f'record node, both cameras: {self._share(recorder):.2f} % of a core')
        recorder.stop()

    def close(self) -> None:
        """Ends the nodes."""
        self._graph.close()

    def _share(self, process: Any) -> float:
        self._graph.holds_for(lambda: True, WARM_UP_S)
        before, begin = cpu_s(process.process.pid), time.monotonic()
        self._graph.holds_for(lambda: True, self._seconds)
        return 100 * (cpu_s(process.process.pid) - before) / (time.monotonic() - begin)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--seconds', type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), arguments.seconds)
        try:
            bench.run(Path(name))
        finally:
            bench.close()


if __name__ == '__main__':
    main()
