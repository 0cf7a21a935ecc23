# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around the node's process: kills, stuck subscribers, logs that cannot be written,
security without keys.
"""

import os
import signal
import subprocess
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from support.live_node import LiveNode, with_frames

pytest.importorskip('torch', reason='torch is not installed')

LONG = 3000
PARAMETERS = {
    'caption.period': 0.1,
    'caption.max_tokens': 2,
    'clip.fps': 5.0,
    'question.max_tokens': LONG,
}

STUCK_SUBSCRIBER = """
import rclpy
from penguin_msgs.msg import Caption
rclpy.init()
node = rclpy.create_node('stuck_subscriber')
tell = lambda caption: print('caption', flush=True)
node.create_subscription(Caption, '/penguin/caption', tell, 10)
rclpy.spin(node)
"""


@pytest.mark.parametrize(
    'environment, told',
    [
        ({'ROS_LOG_DIR': '/proc/no/such/folder'}, '/proc/no/such/folder'),
        (
            {
                'ROS_SECURITY_ENABLE': 'true',
                'ROS_SECURITY_STRATEGY': 'Enforce',
                'ROS_SECURITY_KEYSTORE': '/nowhere',
            },
            'SECURITY',
        ),
    ],
    ids=['log folder', 'security'],
)
def test_surroundings_that_rclpy_refuses_end_the_process_with_its_reason(graph, environment, told):
    process = graph.start(environment=environment)
    assert process.wait_for_exit() == 2
    assert (
        'penguin_node cannot start' in process.log
        and told in process.log
        and 'Traceback' not in process.log
    )


def test_a_subscriber_that_does_not_read_does_not_hold_the_node_up(graph, tiny_checkpoint):
    node = LiveNode(graph, tiny_checkpoint, PARAMETERS).wait_until('active')
    with_frames(node)
    heard = graph.folder / 'stuck.txt'
    with heard.open('w') as output:
        stuck = subprocess.Popen(
            [sys.executable, '-c', STUCK_SUBSCRIBER],
            stdout=output,
            env={**os.environ, 'ROS_DOMAIN_ID': str(graph.domain.number)},
        )
    try:
        graph.wait_for(lambda: 'caption' in heard.read_text(), 30, 'its first caption')
        stuck.send_signal(signal.SIGSTOP)
        seen = len(node.captions)
        graph.wait_for(
            lambda: len(node.captions) > seen + 25, 30, 'captions, more than any queue holds'
        )
        assert node.ask(max_tokens=4).success
    finally:
        stuck.kill()
        stuck.wait()
    node.process.stop()


def test_a_node_started_after_a_kill_serves_and_forgets_the_dead_one(graph, tiny_checkpoint):
    first = LiveNode(graph, tiny_checkpoint, PARAMETERS, name='/killed').wait_until('active')
    camera = with_frames(first)
    goal = first.send_goal(max_tokens=LONG)
    goal.wait_for_text()
    first.process.kill()
    second = LiveNode(graph, tiny_checkpoint, PARAMETERS, name='/killed')
    second.process.wait_for_log('active; cameras')
    seen = len(second.captions)
    graph.wait_for(lambda: len(second.captions) > seen + 1, 30, 'captions of the new one')
    second.publish_question(id='to the new one', max_tokens=4)
    assert second.wait_for_answer('to the new one').error_code == ErrorCode.NONE
    second.wait_for_entry('node', DiagnosticStatus.OK)
    camera.stop()
    second.process.stop()


def test_a_device_that_is_not_there_is_refused_by_name_and_another_can_be_chosen(
    graph, tiny_checkpoint
):
    torch = pytest.importorskip('torch')
    if torch.cuda.is_available():
        pytest.skip('this machine has a CUDA device')
    node = LiveNode(graph, tiny_checkpoint, {'model.device': 'cuda'}, name='/choosy')
    node.process.wait_for_log('the model is not loaded')
    entry = node.wait_for_entry('model', DiagnosticStatus.ERROR, 'CUDA')
    assert 'model.device' in entry.message and node.state() == 'unconfigured'
    assert node.ask().answer.error_code == ErrorCode.INACTIVE
    assert (
        node.set(model__device='cpu')[0].successful
        and node.change('configure')
        and node.change('activate')
    )
    camera = with_frames(node)
    assert node.ask(max_tokens=2).success
    camera.stop()
    node.process.stop()


def test_more_signals_than_one_end_the_node_just_as_quietly(graph, tiny_checkpoint):
    node = LiveNode(graph, tiny_checkpoint, PARAMETERS, name='/hurried').wait_until('active')
    camera = with_frames(node)
    goal = node.send_goal(max_tokens=LONG)
    goal.wait_for_text()
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        node.process.process.send_signal(number)
    node.process.stop()
    assert goal.result(2)[1].error_code == ErrorCode.INACTIVE
    camera.stop()
