# SPDX-License-Identifier: Apache-2.0
"""A client of Gazebo Classic's own transport: topics to subscribe to and to publish, over TCP.

The protocol: a frame is its length as eight hexadecimal digits, followed by as many bytes. The
master is told of subscriptions and publications in packets, and says where publishers listen; a
subscriber connects to those and sends a packet `sub`, after which every frame is a bare message.
Each connection is read by a thread of its own, which ends with it.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

from gazebo_messages import (
    MalformedMessage,
    packet,
    packet_of,
    publication,
    publisher_of,
    subscription,
    topic_of,
)

from penguin_ros.errors import PenguinError

HOST = '127.0.0.1'
HEADER = 8
MAX_BYTES = 2**26
CONNECT_S, RETRY_S = 2.0, 0.2


class GazeboUnreachable(PenguinError):
    """The server did not answer in time, or went away."""


@dataclass
class Subscription:
    """The messages that arrived; when nobody takes them the oldest are dropped first and counted in
    `dropped`.
    """

    topic: str
    kind: str
    messages: queue.Queue[bytes] = field(default_factory=lambda: queue.Queue(maxsize=512))
    is_connected: threading.Event = field(default_factory=threading.Event)
    dropped: int = 0

    def put(self, message: bytes) -> None:
        """Adds a message; called by the reading thread."""
        while True:
            try:
                return self.messages.put_nowait(message)
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self.messages.get_nowait()
                    self.dropped += 1


class GazeboTransport:
    """A connection to the master on `port` of this machine, to be closed; GazeboUnreachable when
    there is none within `timeout_s`.
    """

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._subscribers: dict[str, list[socket.socket]] = {}
        self._has_subscriber = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._master = self._kept(_connected(HOST, port, timeout_s))
        self._server = self._kept(socket.create_server((HOST, 0)))
        self._port = self._server.getsockname()[1]
        self._start(self._follow_master)
        self._start(self._accept)

    def subscribe(self, topic: str, kind: str) -> Subscription:
        """Subscribes; messages arrive once there is a publisher."""
        found = self._subscriptions[topic] = Subscription(topic, kind)
        self._tell_master('subscribe', subscription(topic, kind, HOST, self._port))
        return found

    def advertise(self, topic: str, kind: str, timeout_s: float = 10.0) -> None:
        """Returns when somebody has subscribed; GazeboUnreachable when nobody has."""
        self._tell_master('advertise', publication(topic, kind, HOST, self._port))
        with self._has_subscriber:
            if not self._has_subscriber.wait_for(
                lambda: bool(self._subscribers.get(topic)), timeout_s
            ):
                raise GazeboUnreachable(
                    f'nobody in Gazebo listens to {topic}', f'waited {timeout_s:g} s'
                )

    def publish(self, topic: str, message: bytes) -> None:
        """Sends to all who have subscribed so far; GazeboUnreachable when one is gone."""
        for subscriber in self._subscribers.get(topic, []):
            _send(subscriber, message)

    def close(self) -> None:
        """Ends all connections and their threads."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5.0)

    def __enter__(self) -> GazeboTransport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _follow_master(self) -> None:
        while True:
            kind, content = packet_of(_receive(self._master))
            if kind in ('publisher_subscribe', 'publisher_advertise'):
                publisher = publisher_of(content)
                wanted = self._subscriptions.get(publisher.topic)
                if (
                    wanted is not None
                    and not wanted.is_connected.is_set()
                    and publisher.port != self._port
                ):
                    wanted.is_connected.set()
                    self._start(self._read, wanted, publisher.host, publisher.port)

    def _read(self, wanted: Subscription, host: str, port: int) -> None:
        connection = self._kept(_connected(host, port, CONNECT_S))
        _send(connection, packet('sub', subscription(wanted.topic, wanted.kind, HOST, self._port)))
        while True:
            wanted.put(_receive(connection))

    def _accept(self) -> None:
        while True:
            connection = self._kept(self._server.accept()[0])
            kind, content = packet_of(_receive(connection))
            if kind == 'sub':
                with self._has_subscriber:
                    self._subscribers.setdefault(topic_of(content), []).append(connection)
                    self._has_subscriber.notify_all()

    def _tell_master(self, kind: str, content: bytes) -> None:
        with self._lock:
            _send(self._master, packet(kind, content))

    def _kept(self, connection: socket.socket) -> socket.socket:
        self._sockets.append(connection)
        return connection

    def _start(self, function: object, *arguments: object) -> None:
        def guarded() -> None:
            # The other side went away, or we did, or it does not speak this protocol: whoever waits
            # for messages notices.
            with contextlib.suppress(OSError, EOFError, ValueError, GazeboUnreachable):
                function(*arguments)  # type: ignore[operator]

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()


def _connected(host: str, port: int, timeout_s: float) -> socket.socket:
    end = time.monotonic() + timeout_s
    while True:
        try:
            connection = socket.create_connection((host, port), CONNECT_S)
            connection.settimeout(None)
            return connection
        except OSError as error:
            if time.monotonic() > end:
                raise GazeboUnreachable(
                    f'Gazebo does not answer on port {port}', str(error)
                ) from error
            time.sleep(RETRY_S)


def _send(connection: socket.socket, message: bytes) -> None:
    try:
        connection.sendall(b'%08x' % len(message) + message)
    except OSError as error:
        raise GazeboUnreachable('the connection to Gazebo is gone', str(error)) from error


def _receive(connection: socket.socket) -> bytes:
    length = int(_exactly(connection, HEADER), 16)
    if length > MAX_BYTES:
        raise MalformedMessage(f'{length} bytes announced')
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
