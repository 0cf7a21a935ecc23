# SPDX-License-Identifier: Apache-2.0
"""Cameras that never come, vanish, return, clash or are doubled: diagnostics name the cause, other
cameras are not affected.
"""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import CameraStatus, ErrorCode
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from support.graph import SyntheticCamera, image_message, stamp_ns

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
PARAMETERS = {
    'cameras': ['front', 'rear', 'strict'],
    'camera.strict.transport': 'raw',
    'clip.fps': 10.0,
    'caption.period': 0.3,
    'watch.stale_after': 1.5,
    'qos_overrides./strict/image.subscription.reliability': 'reliable',
}


@pytest.fixture(scope='module')
def node(live_node):
    """Active, without any image."""
    return live_node(PARAMETERS)


@pytest.fixture(scope='module')
def front(graph, node):
    """A camera that publishes from now on."""
    camera = SyntheticCamera(graph, '/front/image')
    camera.start()
    return camera


def captions_of(node, camera, since=0):
    return [caption for caption in node.captions[since:] if caption.camera == camera]


def test_a_camera_that_never_comes_is_waited_for_by_name(node, graph):
    for camera in ('front', 'rear'):
        node.wait_for_entry(
            f'camera {camera}', DiagnosticStatus.WARN, f'waiting for /{camera}/image: no publisher'
        )
    assert (
        node.camera_status('rear').state == CameraStatus.WAITING
        and 'no publisher' in node.camera_status('rear').cause
    )
    answer = node.ask(camera='rear').answer
    assert answer.error_code == ErrorCode.NO_FRAMES and 'rear' in answer.error_message
    assert not node.captions


def test_one_dead_camera_does_not_disturb_the_others(node, graph, front):
    node.wait_for_entry('camera front', DiagnosticStatus.OK)
    node.wait_for_entry(
        'camera rear', DiagnosticStatus.WARN, 'while images are published on /front/image'
    )
    graph.wait_for(
        lambda: len(captions_of(node, 'front')) > 2, 20, 'captions of the one that lives'
    )
    assert node.ask(camera='front').success and not captions_of(node, 'rear')


def test_a_camera_that_vanishes_is_stale_and_its_return_mends_everything(node, graph, front):
    node.wait_for_entry('camera front', DiagnosticStatus.OK)
    front.stop()
    last = front.stamps_ns[-1]
    entry = node.wait_for_entry(
        'camera front', DiagnosticStatus.ERROR, 'no frame of /front/image for'
    )
    assert (
        'has published nothing since' in entry.message
        and node.camera_status('front').state == CameraStatus.STALE
    )
    answer = node.ask(camera='front').answer
    assert (
        answer.error_code == ErrorCode.STALE_FRAMES
        and answer.evidence.is_stale
        and 's old' in answer.error_message
    )
    past = {'start': _time(last - 2 * 10**9), 'end': _time(last)}
    answer = node.ask(camera='front', has_interval=True, **past).answer
    assert answer.error_code == ErrorCode.NONE and answer.evidence.is_stale, (
        'the past can still be asked about'
    )
    graph.wait_for(
        lambda: node.entry('queue') and node.entry_values('queue')['captions running'] == '0'
    )
    seen = len(node.captions)
    assert graph.holds_for(lambda: len(node.captions) == seen, 1.0), 'no captions of old frames'
    graph.node.destroy_publisher(front.publisher)
    node.wait_for_entry('camera front', DiagnosticStatus.ERROR, 'no publisher')
    front.publisher = graph.node.create_publisher(type(image_message(0, 0)), '/front/image', 10)
    front.start()
    node.wait_for_entry('camera front', DiagnosticStatus.OK)
    caption = graph.wait_for(
        lambda: captions_of(node, 'front', seen), 20, 'a caption of after the return'
    )[-1]
    assert stamp_ns(caption.evidence.end) > last
    assert node.ask(camera='front').success


def _time(nanoseconds):
    from builtin_interfaces.msg import Time

    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def test_a_qos_clash_is_named_by_policy_and_publisher(node, graph):
    camera = SyntheticCamera(graph, '/strict/image', BEST_EFFORT)
    camera.start()
    entry = node.wait_for_entry(
        'camera strict', DiagnosticStatus.ERROR, 'incompatible QoS policy RELIABILITY'
    )
    assert '/test_client' in entry.message and node.camera_status('strict').cause == entry.message
    assert 'RELIABILITY' in node.process.log
    camera.stop()
    graph.node.destroy_publisher(camera.publisher)
    reliable = SyntheticCamera(graph, '/strict/image')
    reliable.start()
    node.wait_for_entry('camera strict', DiagnosticStatus.OK)
    reliable.stop()


def test_another_type_on_the_topic_is_named(node, graph):
    publisher = graph.node.create_publisher(String, '/rear/image', 10)
    entry = node.wait_for_entry('camera rear', DiagnosticStatus.ERROR, 'std_msgs/msg/String')
    assert '/test_client publishes' in entry.message and 'sensor_msgs/msg/Image' in entry.message
    graph.node.destroy_publisher(publisher)


def test_two_publishers_on_one_topic_are_named_until_one_goes(node, graph, front):
    second = Node('second_camera', context=graph.context)
    graph.executor.add_node(second)
    publisher = second.create_publisher(type(image_message(0, 0)), '/front/image', 10)
    entry = node.wait_for_entry(
        'camera front', DiagnosticStatus.WARN, '2 publishers on /front/image'
    )
    assert '/second_camera' in entry.message and '/test_client' in entry.message
    assert node.ask(camera='front').success, 'frames are used nevertheless'
    second.destroy_publisher(publisher)
    node.wait_for_entry('camera front', DiagnosticStatus.OK)
    graph.executor.remove_node(second)
    second.destroy_node()
