# SPDX-License-Identifier: Apache-2.0
"""ROS time under the node: simulated, standing still, jumping back."""

import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from ros.graph import Graph, SyntheticCamera, stamp_ns
from ros.live_node import LiveNode
from rosgraph_msgs.msg import Clock

LONG = 3000
SECOND = 10 ** 9


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    graph = Graph(tmp_path_factory.mktemp('graph'))
    yield graph
    graph.close()


class SimulatedTime:
    """Publishes /clock and a picture of that time, ten per second, whenever the graph spins."""

    def __init__(self, graph):
        self.now_ns = 1000 * SECOND
        self._clock = graph.node.create_publisher(Clock, '/clock', 10)
        self._camera = SyntheticCamera(graph, '/camera/image')
        graph.node.create_timer(0.1, self._tick)

    def _tick(self):
        self.now_ns += SECOND // 10
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.now_ns, SECOND)
        self._clock.publish(message)
        self._camera.publish(stamp_ns=self.now_ns)


@pytest.fixture(scope='module')
def node(graph, tiny_checkpoint):
    """Active on simulated time, with frames."""
    node = LiveNode(graph, tiny_checkpoint, {'use_sim_time': True, 'caption.enabled': False, 'question.max_tokens': LONG})
    node.wait_until('active')
    node.wait_for_entry('node', DiagnosticStatus.WARN, '/clock')
    node.time = SimulatedTime(graph)
    graph.wait_for(lambda: node.status.cameras[0].frames_buffered)
    yield node
    node.process.stop()


def test_the_clock_that_arrives_ends_the_warning_and_stamps_the_status(node, graph):
    node.wait_for_entry('node', DiagnosticStatus.OK)
    assert 999 * SECOND < stamp_ns(node.status.header.stamp) <= node.time.now_ns


def test_a_jump_back_forgets_the_frames_and_ends_the_requests_about_them(node, graph):
    graph.wait_for(lambda: node.ask(max_tokens=2).success, 30)
    running, waiting = node.send_goal(max_tokens=LONG), node.send_goal(max_tokens=LONG)
    running.wait_for_text()
    node.time.now_ns -= 60 * SECOND
    for goal in (running, waiting):
        status, answer = goal.result(10)
        assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.CLOCK_JUMP
        assert 'went back' in answer.error_message
    graph.wait_for(lambda: node.ask(max_tokens=2).success, 30)
    answer = node.ask(max_tokens=2).answer
    assert all(stamp_ns(frame.stamp) <= node.time.now_ns for frame in answer.evidence.frames)
    assert stamp_ns(answer.evidence.start) >= 930 * SECOND
