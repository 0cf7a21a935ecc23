# SPDX-License-Identifier: Apache-2.0
"""A node of its own with one camera input, without a buffer or a model behind it."""

from __future__ import annotations

from contextlib import ExitStack

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from support.graph import ros_context

from penguin_ros.clip_buffer import Admission
from penguin_ros.config import PenguinConfig
from penguin_ros.ros.camera_input.camera_input import CameraInput, FrameSinks
from penguin_ros.ros.conversions.topics import CameraSetting
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.settings import with_values

FAST = {'clip.fps': 50.0, 'watch.stale_after': 1.0}


class Receiver:
    """A node of its own with one camera; `frames` and `drops` are what it delivered."""

    def __init__(self, graph, transport='raw', settings=None, arguments=(), topic='image'):
        self.graph = graph
        self.frames = []
        self.drops = []
        self._stack = ExitStack()
        self.context = self._stack.enter_context(ros_context(graph.domain, *arguments))
        self.node = Node('receiver', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.guard = CallbackGuard(self.node.get_logger())
        self.sinks = FrameSinks(lambda frame: self.take(frame), self.drops.append)
        self.take = self._take
        config = with_values(PenguinConfig(), {**FAST, **(settings or {})})
        self.camera = CameraInput(
            self.node, CameraSetting('front', topic, transport), config, self.guard, self.sinks
        )
        try:
            self.camera.start()
        except Exception:
            self._end()
            raise

    def _take(self, frame):
        self.frames.append(frame)
        return Admission()

    def wait_for(self, condition, seconds=20.0, what=''):
        def spin():
            self.executor.spin_once(timeout_sec=0.01)
            return condition()

        return self.graph.wait_for(spin, seconds, what or self.camera.health)

    def health_with(self, cause, seconds=20.0):
        """Waits until the cause or a warning of the health is this one, and returns the health."""
        self.wait_for(
            lambda: cause in (self.camera.health().cause, *self.camera.health().warnings),
            seconds,
            f'cause {cause}',
        )
        return self.camera.health()

    def close(self):
        self.camera.stop()
        self._end()

    def _end(self):
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._stack.close()
