# SPDX-License-Identifier: Apache-2.0
"""The client of Gazebo's transport, over real sockets with a stand-in that speaks as Gazebo's
master and publishers do.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator

import pytest
from gazebo_messages import packet, packet_of, publication, publisher_of, subscription, topic_of
from gazebo_transport import GazeboTransport, GazeboUnreachable, Subscription

KIND = 'gazebo.msgs.GzString'


def send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(b'%08x' % len(message) + message)


def receive(connection: socket.socket) -> bytes:
    stream = connection.makefile('rb', buffering=0)
    length = int(stream.read(8), 16)
    parts = b''
    while len(parts) < length:
        parts += stream.read(length - len(parts))
    return parts


class StandIn:
    """A master whose only client is told of one publisher, which is the master itself."""

    def __init__(self) -> None:
        self.server = socket.create_server(('127.0.0.1', 0))
        self.server.settimeout(10)
        self.port = self.server.getsockname()[1]
        self.told: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.connections: list[socket.socket] = []
        self.has_master = threading.Event()
        threading.Thread(target=self._serve_master, daemon=True).start()

    def _serve_master(self) -> None:
        master, _ = self.server.accept()
        self.connections.append(master)
        self.has_master.set()
        send(master, packet('version_init', b''))
        try:
            while True:
                kind, content = packet_of(receive(master))
                self.told.put((kind, content))
                if kind == 'subscribe':
                    send(
                        master,
                        packet(
                            'publisher_subscribe',
                            publication(topic_of(content), KIND, '127.0.0.1', self.port),
                        ),
                    )
        except (OSError, ValueError):
            return

    def subscriber(self) -> socket.socket:
        """The connection on which a client has asked for the topic's messages."""
        assert self.has_master.wait(10), 'the first connection is the one to the master'
        connection, _ = self.server.accept()
        self.connections.append(connection)
        assert packet_of(receive(connection))[0] == 'sub'
        return connection

    def close(self) -> None:
        for connection in (*self.connections, self.server):
            connection.close()


@pytest.fixture
def gazebo() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def test_messages_of_a_topic_arrive_in_their_order(gazebo: StandIn) -> None:
    with GazeboTransport(gazebo.port) as transport:
        found = transport.subscribe('/gazebo/a', KIND)
        publisher = gazebo.subscriber()
        assert found.is_connected.wait(5)
        for number in range(20):
            send(publisher, b'message %d' % number * 1000)
        assert [found.messages.get(timeout=5) for _ in range(20)] == [
            b'message %d' % number * 1000 for number in range(20)
        ]


def test_what_is_published_reaches_who_subscribed(gazebo: StandIn) -> None:
    with GazeboTransport(gazebo.port) as transport:
        received: list[bytes] = []

        def subscribe() -> None:
            kind, content = gazebo.told.get(timeout=5)
            assert kind == 'advertise'
            publisher = publisher_of(content)
            with socket.create_connection((publisher.host, publisher.port), 5) as connection:
                send(connection, packet('sub', subscription(publisher.topic, KIND, '127.0.0.1', 1)))
                received.append(receive(connection))

        thread = threading.Thread(target=subscribe)
        thread.start()
        transport.advertise('/gazebo/control', KIND, 5)
        transport.publish('/gazebo/control', b'go')
        thread.join(5)
        assert received == [b'go']


def test_an_advertisement_that_nobody_answers_has_a_deadline(gazebo: StandIn) -> None:
    with (
        GazeboTransport(gazebo.port) as transport,
        pytest.raises(GazeboUnreachable, match='nobody'),
    ):
        transport.advertise('/gazebo/control', KIND, 0.1)


def test_a_master_that_is_not_there_has_a_deadline() -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(GazeboUnreachable, match=str(port)):
        GazeboTransport(port, timeout_s=0.3)


def test_a_closed_client_leaves_no_thread(gazebo: StandIn) -> None:
    before = threading.active_count()
    transport = GazeboTransport(gazebo.port)
    transport.subscribe('/gazebo/a', KIND)
    gazebo.subscriber()
    assert threading.active_count() > before
    transport.close()
    assert threading.active_count() <= before


def test_a_publisher_that_talks_nonsense_ends_its_thread_only(gazebo: StandIn) -> None:
    with GazeboTransport(gazebo.port) as transport:
        found = transport.subscribe('/gazebo/a', KIND)
        publisher = gazebo.subscriber()
        publisher.sendall(b'nonsense and more')
        transport.subscribe('/gazebo/b', KIND)
        assert gazebo.subscriber() is not None
        assert found.messages.empty()


def test_a_full_subscription_drops_its_oldest_messages_and_counts_them() -> None:
    found = Subscription('/a', KIND, queue.Queue(maxsize=3))
    for number in range(5):
        found.put(bytes([number]))
    assert [found.messages.get_nowait() for _ in range(3)] == [
        b'\x02',
        b'\x03',
        b'\x04',
    ] and found.dropped == 2
