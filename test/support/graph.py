# SPDX-License-Identifier: Apache-2.0
"""A real ROS graph for tests: a domain of its own, a client node, node processes with their logs,
images on topics.

Everything waits on conditions with deadlines. The client spins in the thread of the test, inside
`wait_for`.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

REPOSITORY = Path(__file__).resolve().parents[2]
PENGUIN_NODE = 'penguin_ros.ros.node.main'
STOP_SECONDS = 5.0
QUESTION_DEPTH = QoSProfile(depth=1000)
_LOCK_PORT = 23000


class Domain:
    """A ROS_DOMAIN_ID that no other test process of this machine holds: a bound port per domain is
    the lock.
    """

    def __init__(self) -> None:
        for number in (1 + (os.getpid() * 7 + offset) % 100 for offset in range(100)):
            self._lock = socket.socket()
            try:
                self._lock.bind(('127.0.0.1', _LOCK_PORT + number))
            except OSError:
                self._lock.close()
                continue
            self.number = number
            return
        raise RuntimeError('all domains are taken')

    def close(self) -> None:
        self._lock.close()


@contextmanager
def _observer(domain: int) -> Iterator[Node]:
    """Yields a node with a context of its own that learns of the whole graph anew."""
    context = rclpy.Context()
    rclpy.init(
        args=[],
        context=context,
        domain_id=domain,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    node = Node('test_observer', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _known(condition: Callable[[Node], Any], node: Node) -> Any:
    try:
        return condition(node)
    except NodeNameNonExistentError:
        return None


class Graph:
    """A client node on a domain of its own, and the processes started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.domain = Domain()
        self.context = rclpy.Context()
        rclpy.init(
            args=[],
            context=self.context,
            domain_id=self.domain.number,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Node('test_client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._processes: list[NodeProcess] = []

    def start(
        self,
        module: str = PENGUIN_NODE,
        *,
        parameters: Mapping[str, Any] | None = None,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> NodeProcess:
        """Starts a node process; it is stopped with the graph when the test does not do so."""
        process = NodeProcess(self, module, parameters or {}, arguments, environment or {})
        self._processes.append(process)
        return process

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20.0, what: str = '') -> Any:
        """Spins until the condition returns something true, and returns that.

        AssertionError after the deadline, with the logs of all processes.
        """
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                logs = '\n'.join(
                    f'--- {process.log_path.name}\n{process.log[-4000:]}'
                    for process in self._processes
                )
                raise AssertionError(f'not within {seconds} s: {what or condition}\n{logs}')
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def holds_for(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Spins for that long; returns False as soon as the condition does not hold."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)
            if not condition():
                return False
        return True

    def observe(
        self, condition: Callable[[Node], Any], seconds: float = 20.0, what: str = ''
    ) -> Any:
        """Returns the first true value of the condition, which a client asks of the graph.

        A participant that got no news of the graph (Fast DDS loses such a message now and then, and
        never sends it again) is replaced twice; a name that is not there yet is waited for.
        """
        for attempt in range(3):
            with _observer(self.domain.number) as node:
                try:
                    return self.wait_for(lambda: _known(condition, node), seconds, what)
                except AssertionError:
                    if attempt == 2:
                        raise

    def collect(self, kind: type, topic: str, qos: QoSProfile | int = QUESTION_DEPTH) -> list[Any]:
        """Returns a list that every message of the topic is appended to."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def publisher(
        self, kind: type, topic: str, qos: QoSProfile | int = QUESTION_DEPTH, subscribers: int = 1
    ) -> Any:
        """Returns a publisher that is matched by that many subscribers."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.wait_for(
            lambda: publisher.get_subscription_count() >= subscribers,
            what=f'a subscriber of {topic}',
        )
        return publisher

    def client(self, kind: type, name: str) -> Any:
        """Returns a service client once the service is there."""
        client = self.node.create_client(kind, name, qos_profile=QUESTION_DEPTH)
        self.wait_for(client.service_is_ready, what=f'service {name}')
        return client

    def call(self, client: Any, request: Any, seconds: float = 20.0) -> Any:
        """Calls a service and returns its response."""
        return self.result(client.call_async(request), seconds)

    def result(self, future: Any, seconds: float = 20.0) -> Any:
        """Spins until a future is done and returns its result."""
        self.wait_for(future.done, seconds, 'a result')
        return future.result()

    def action_client(self, kind: Any, name: str) -> ActionClient:
        """Returns an action client with depths for floods, once the server is there."""
        client = ActionClient(
            self.node,
            kind,
            name,
            goal_service_qos_profile=QUESTION_DEPTH,
            result_service_qos_profile=QUESTION_DEPTH,
            cancel_service_qos_profile=QUESTION_DEPTH,
            feedback_sub_qos_profile=QUESTION_DEPTH,
        )
        self.wait_for(client.server_is_ready, what=f'action {name}')
        return client

    def close(self) -> None:
        """Ends what still runs."""
        for process in self._processes:
            process.end()
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self.context.try_shutdown()
        self.domain.close()


@contextmanager
def ros_context(domain: Domain, *arguments: str) -> Iterator[rclpy.Context]:
    """A context of its own on the domain, given these ROS arguments."""
    context = rclpy.Context()
    rclpy.init(
        args=['--ros-args', *arguments],
        context=context,
        domain_id=domain.number,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        yield context
    finally:
        context.try_shutdown()


@contextmanager
def parameter_node(domain: Domain, *overrides: str) -> Iterator[Node]:
    """A bare node in this process, given parameters as `name:=value`."""
    arguments = [part for override in overrides for part in ('-p', override)]
    with ros_context(domain, *arguments) as context:
        node = Node('parameters_under_test', context=context)
        try:
            yield node
        finally:
            node.destroy_node()


class NodeProcess:
    """A node started from its entry point as a process; `log` is all it printed."""

    def __init__(
        self,
        graph: Graph,
        module: str,
        parameters: Mapping[str, Any],
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
    ) -> None:
        self._graph = graph
        self.log_path = graph.folder / f'{module.rpartition(".")[2]}_{time.monotonic_ns()}.log'
        command = [sys.executable, '-m', module, '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={_yaml(value)}']
        with self.log_path.open('wb') as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                start_new_session=True,
                env={
                    **os.environ,
                    'ROS_DOMAIN_ID': str(graph.domain.number),
                    'ROS_LOG_DIR': str(graph.folder / 'log'),
                    'PYTHONFAULTHANDLER': '1',
                    **environment,
                },
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors='replace')

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for_log(self, text: str, seconds: float = 30.0) -> None:
        """Waits until the process has printed `text`."""
        self._graph.wait_for(lambda: text in self.log, seconds, f'{text!r} in the log')

    def wait_for_exit(self, seconds: float = 30.0) -> int:
        """Waits for the end of the process and returns its exit code."""
        try:
            self._graph.wait_for(lambda: not self.is_running, seconds, 'the end of the process')
        except AssertionError:
            # It then writes where each of its threads stands.
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(STOP_SECONDS)
            raise AssertionError(
                f'the process did not end within {seconds} s:\n{self.log}'
            ) from None
        return int(self.process.returncode)

    def stop(self, number: int = signal.SIGINT, seconds: float = STOP_SECONDS) -> None:
        """Signals the process and asserts a quiet end in time: exit code 0 and no traceback.

        The graph spins meanwhile.
        """
        self.process.send_signal(number)
        assert self.wait_for_exit(seconds) == 0, self.log
        assert 'Traceback' not in self.log, self.log

    def end(self) -> None:
        """Asks the process to stop, and kills it only when it does not: Fast DDS leaves its shared
        memory behind in a process that is killed.
        """
        if self.is_running:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self.is_running:
            self.process.kill()
        self.process.wait()


class SyntheticCamera:
    """Publishes raw images that differ from frame to frame; by hand, or by a timer while the
    graph spins.
    """

    def __init__(self, graph: Graph, topic: str, qos: QoSProfile | None = None) -> None:
        self._graph = graph
        self._count = 0
        self.stamps_ns: list[int] = []
        self.publisher = graph.node.create_publisher(
            Image, topic, qos or QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
        )
        self._timer: Any = None

    def start(self, hertz: float = 10.0) -> None:
        """Publishes at this rate whenever the graph spins."""
        self._timer = self._graph.node.create_timer(1 / hertz, self.publish)

    def stop(self) -> None:
        if self._timer is not None:
            self._graph.node.destroy_timer(self._timer)
            self._timer = None

    def publish(self, stamp_ns: int | None = None, **fields: Any) -> Image:
        """Publishes an image, now or with a given stamp; `fields` replace those of the message."""
        stamp_ns = self._graph.node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        message = image_message(self._count, stamp_ns)
        for name, value in fields.items():
            setattr(message, name, value)
        self._count += 1
        self.stamps_ns.append(stamp_ns)
        self.publisher.publish(message)
        return message


def image_message(number: int, stamp_ns: int, width: int = 64, height: int = 48) -> Image:
    """Returns an rgb8 message with a bright square that moves with `number`."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    left = (number * 5) % (width - 12)
    pixels[10:22, left : left + 12] = (250, 200 - number % 100, 30)
    message = Image(
        height=height,
        width=width,
        encoding='rgb8',
        step=width * 3,
        data=array.array('B', pixels.tobytes()),
    )
    message.header.frame_id = 'camera_optical'
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def stamp_ns(stamp: Any) -> int:
    """Returns a message's time in nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
