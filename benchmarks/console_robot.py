# SPDX-License-Identifier: Apache-2.0
"""A robot for `benchmarks/console.py`: what a penguin node publishes, on time and without a model.

A camera of 640 x 480 at 10 Hz, whose pictures carry their stamp as a row of black and white cells,
a status, a caption and diagnostics each second, and an action that answers at once: the first piece
of its text is the time at which it was published, in nanoseconds.
"""

from __future__ import annotations

import array
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WIDTH, HEIGHT, HZ = 640, 480, 10
CELL, CELL_ROWS = 10, 16
BITS = 48
NAME = 'bench_robot'
PIECES = 8
PARTS, VALUES = 5, 12
"""Of diagnostics, about as many as a penguin node with one camera has."""


def cells(milliseconds: int) -> np.ndarray:
    """Returns the cells that say a time: a mark, the bits from the highest, a checksum."""
    bits = [milliseconds >> shift & 1 for shift in reversed(range(BITS))]
    checksum = sum(bits) & 0xFF
    tail = [checksum >> shift & 1 for shift in reversed(range(8))]
    row = np.array([1, 0, 1, 0, *bits, *tail, 0, 1, 0, 1], np.uint8) * 255
    return np.repeat(row, CELL)


def scene() -> np.ndarray:
    """Returns a picture with edges, shades and noise, of about 50 kB as JPEG."""
    chance = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) % 256], -1).astype(np.int16)
    for _ in range(40):
        left, top = chance.integers(0, WIDTH - 80), chance.integers(30, HEIGHT - 80)
        image[top : top + 60, left : left + 60] = chance.integers(0, 255, 3)
    return np.clip(image + chance.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


class Robot:
    """The node with its topics and its action."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from penguin_msgs.action import AnswerQuestion
        from penguin_msgs.msg import Caption, Status
        from rclpy.action import ActionServer
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import Image

        self.node = rclpy.create_node(NAME)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._camera = self.node.create_publisher(Image, 'bench/image', QoSProfile(depth=2))
        self._status = self.node.create_publisher(Status, '~/status', latched)
        self._caption = self.node.create_publisher(Caption, '~/caption', QoSProfile(depth=10))
        self._health = self.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._server = ActionServer(
            self.node, AnswerQuestion, '~/answer_question', execute_callback=self._answer
        )
        self._image = scene()
        self._count = 0
        self.node.create_timer(1.0 / HZ, self._show)
        self.node.create_timer(1.0, self._tell)

    def _show(self) -> None:
        from sensor_msgs.msg import Image

        image = self._image
        self._count += 1
        left = self._count * 7 % (WIDTH - 60)
        image[300:360] = np.roll(image[300:360], 7, axis=1)
        image[400:440, left : left + 40] = 255 - image[400:440, left : left + 40]
        stamp_ns = time.time_ns()
        image[:CELL_ROWS] = cells(stamp_ns // 10**6)[None, :, None]
        message = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
        message.data = array.array('B', image.tobytes())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._camera.publish(message)

    def _tell(self) -> None:
        from penguin_msgs.msg import CameraStatus, Caption, Status

        status = Status(lifecycle_state='active', is_model_loaded=True, is_captioning_enabled=True)
        status.header.stamp = self.node.get_clock().now().to_msg()
        topic = self._camera.topic_name
        status.cameras = [CameraStatus(name='front', topic=topic, state=1, rate_hz=float(HZ))]
        self._status.publish(status)
        caption = Caption(camera='front', text=f'caption {self._count}')
        caption.header.stamp = status.header.stamp
        self._caption.publish(caption)
        self._health.publish(self._diagnosis())

    def _diagnosis(self) -> Any:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

        values = [KeyValue(key=f'value {n}', value=str(self._count + n)) for n in range(VALUES)]
        return DiagnosticArray(
            status=[
                DiagnosticStatus(name=f'/{NAME}: part {n}', message='it works', values=values)
                for n in range(PARTS)
            ]
        )

    def _answer(self, asked: Any) -> Any:
        from penguin_msgs.action import AnswerQuestion

        text = str(time.time_ns())
        for number in range(PIECES):
            feedback = AnswerQuestion.Feedback(text=text, sequence=number)
            asked.publish_feedback(feedback)
            text += ' more'
            time.sleep(0.02)
        asked.succeed()
        result = AnswerQuestion.Result()
        result.answer.text = text
        return result


def main() -> None:
    """Runs until it is interrupted."""
    from penguin_ros.ros.process.image_profile import use_image_profile

    use_image_profile()  # as camera_node does: larger pictures get lost without it
    import rclpy
    from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

    rclpy.init()
    robot = Robot()
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(robot.node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == '__main__':
    main()
