# SPDX-License-Identifier: Apache-2.0
"""The robot as the console knows it: all penguin nodes that are on the air, found as they come."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from penguin_msgs.srv import Recall
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from penguin_ros.frame import to_nanoseconds
from penguin_ros.ros.client.session import Session
from penguin_ros.ros.console_node.calls import CALLS, recall
from penguin_ros.ros.console_node.page_values import page_value
from penguin_ros.ros.console_node.remedies import remedy
from penguin_ros.ros.console_node.watched_node import WatchedNode
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.robot import Fields, Look, OnPiece, Picture, Refused

DISCOVERY_S = 1.0
GONE_S = 5.0
"""A memory that is not ready for so long is gone."""
RECALL_TYPE = 'penguin_msgs/srv/Recall'
STRIP_WIDTH = 320
WAKE_S = 1.0
PAUSE_AFTER_FAULT_S = 0.01
ENCODERS = 2
RECALLED = 'recalled'
"""Stands for the node of a picture of a memory, whose stamp is then the id of its entry."""

MAX_RECALLED = 128


class RosRobot:
    """Opened and used on the thread of the loop; its executor has a thread of its own."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._nodes: dict[str, WatchedNode] = {}
        self._recall: Any = None
        self._recalled: dict[int, bytes] = {}
        self._ready_s = 0.0
        self._pool = ThreadPoolExecutor(ENCODERS, thread_name_prefix='jpeg')
        self._context = rclpy.Context()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Joins the graph."""
        rclpy.init(args=None, context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('penguin_console', context=self._context)
        self._session = Session(self._node, None)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._node.create_timer(DISCOVERY_S, self._discover, clock=steady)
        self._thread = threading.Thread(target=self._spin, name='ros', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves the graph."""
        self._context.try_shutdown()
        if self._thread is not None:  # else it was never opened
            self._thread.join(5.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- on the loop's thread ---------------------------------------------------------------------

    async def do(self, name: str, fields: Fields, on_piece: OnPiece) -> Fields:
        """Does what a browser asks; see Robot."""
        if name == 'recall':
            return await self._do_recall(fields)
        reply: Fields = await CALLS[name](self._watched(fields.get('node', '')), fields, on_piece)
        return reply

    async def _do_recall(self, fields: Fields) -> Fields:
        client = self._recall
        if client is None:
            raise Refused('no memory node runs. Type: memory_node --ros-args -p folder:=DIR')
        watched = self._nodes.get(fields.get('node', ''))
        now_ns = self._node.get_clock().now().nanoseconds if watched is None else watched.now_ns()
        found = await recall(client, now_ns, fields)
        for entry in found.entries:
            for picture in entry.picture:
                self._recalled[entry.id] = bytes(picture.data)
        while len(self._recalled) > MAX_RECALLED:
            del self._recalled[next(iter(self._recalled))]
        return dict(page_value(found))

    def look(self, look: Look, on_picture: Callable[[Picture], None]) -> _View:
        """Shows a camera to a browser; see Robot."""

        def on_jpeg(stamp_ns: int, jpeg: bytes) -> None:
            picture = Picture(look.node, look.camera, stamp_ns, jpeg)
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(on_picture, picture)

        watched = self._nodes.get(look.node)
        feed = watched.feeds.get(look.camera) if watched is not None else None
        if feed is not None:
            feed.add(on_jpeg, look.width, look.rate)
        return _View(feed, on_jpeg)

    async def frame(self, node: str, camera: str, stamp_ns: int) -> bytes:
        """Returns a frame that is kept; see Robot."""
        if node == RECALLED:
            if stamp_ns not in self._recalled:
                raise Refused('that picture is not kept')
            return self._recalled[stamp_ns]
        watched = self._watched(node)
        key_frame = watched.pictures.get((camera, stamp_ns))
        if key_frame is not None:
            return key_frame
        feed = watched.feeds.get(camera)
        if feed is None:
            raise Refused('no such camera')
        jpeg = await self._loop.run_in_executor(self._pool, feed.frame, stamp_ns, STRIP_WIDTH)
        if jpeg is None:
            raise Refused('that frame is not kept')
        return jpeg

    def _watched(self, name: str) -> WatchedNode:
        nodes = self._nodes
        if not name and len(nodes) == 1:
            return next(iter(nodes.values()))
        if name not in nodes:
            raise Refused(f'no penguin node {name} runs')
        return nodes[name]

    # --- on the executor's thread -----------------------------------------------------------------

    def _spin(self) -> None:
        guard = CallbackGuard(self._node.get_logger())
        try:
            while self._context.ok():
                try:
                    self._executor.spin_once(timeout_sec=WAKE_S)
                except ExternalShutdownException:
                    break
                except Exception as error:  # else the page would show the same for ever
                    guard.report('the executor', error)
                    time.sleep(PAUSE_AFTER_FAULT_S)
        finally:
            self._executor.shutdown(timeout_sec=1.0)
            self._node.destroy_node()

    def _publish(self, kind: str, node: str, content: Mapping[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._hub.publish, kind, node, content)

    def _discover(self) -> None:
        found = set(self._session.answering_nodes())
        for name in self._nodes.keys() - found:
            nodes = dict(self._nodes)
            nodes.pop(name).close()
            self._nodes = nodes  # a new one: the loop's thread reads it meanwhile
            self._loop.call_soon_threadsafe(self._hub.forget, name)
        for name in found - self._nodes.keys():
            watched = WatchedNode(self._node, name, self._publish, self._pool)
            self._nodes = {**self._nodes, name: watched}
        for watched in self._nodes.values():
            watched.tell_silence()
            for feed in watched.feeds.values():
                feed.forget_unseen()
        self._find_memory()
        content = {'nodes': sorted(found), 'has_memory': self._recall is not None}
        self._publish('nodes', '', content)

    def _find_memory(self) -> None:
        if self._recall is not None:
            if self._recall.service_is_ready():
                self._ready_s = time.monotonic()
            elif time.monotonic() - self._ready_s > GONE_S:
                # Our own client keeps the name of its service in the graph.
                self._node.destroy_client(self._recall)
                self._recall = None
            return
        services = self._node.get_service_names_and_types()
        memories = sorted(name for name, types in services if RECALL_TYPE in types)
        if memories:
            self._recall = self._node.create_client(Recall, memories[0])
            self._ready_s = time.monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        stamp = str(to_nanoseconds(message.header.stamp))
        found = [{**_finding(status), 'stamp': stamp} for status in message.status]

        def publish() -> None:
            for content in found:
                self._hub.publish('diagnostics', content['name'], content)

        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(publish)


def _finding(status: Any) -> dict[str, Any]:
    level = int.from_bytes(status.level, 'little')
    values = {pair.key: pair.value for pair in status.values}
    return {
        'name': status.name,
        'level': level,
        'message': status.message,
        'values': [[key, value] for key, value in values.items()],
        'remedy': remedy(status.name, level, status.message, values),
    }


class _View:
    """What ends a look at a camera."""

    def __init__(self, feed: Any, viewer: Any) -> None:
        self._feed = feed
        self._viewer = viewer

    def close(self) -> None:
        if self._feed is not None:
            self._feed.remove(self._viewer)
