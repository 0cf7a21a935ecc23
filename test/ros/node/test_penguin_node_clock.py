# SPDX-License-Identifier: Apache-2.0
"""The node under simulated time: a clock that stands, jumps back, jumps ahead, or never comes."""

import array
import io

import PIL.Image
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from support.graph import SyntheticCamera, image_message, stamp_ns

SECOND = 10**9
LONG = 3000
PARAMETERS = {
    'use_sim_time': True,
    'clip.fps': 20.0,
    'clip.seconds': 2.0,
    'caption.period': 0.2,
    'question.max_tokens': LONG,
    'watch.stale_after': 2.0,
}


class World:
    """A simulation: publishes /clock, and an image of its time with every tick."""

    def __init__(self, graph):
        self.now_ns = 1000 * SECOND
        self.is_filming = True
        self._clock = graph.publisher(Clock, '/clock', 10)
        self._camera = SyntheticCamera(graph, '/camera/image')
        self.stamps = self._camera.stamps_ns
        self.timer = graph.node.create_timer(0.05, self.tick)

    def tick(self):
        self.now_ns += SECOND // 20
        self._clock.publish(
            Clock(clock=Time(sec=self.now_ns // SECOND, nanosec=self.now_ns % SECOND))
        )
        if self.is_filming:
            self._camera.publish(self.now_ns)


@pytest.fixture(scope='module')
def node(live_node):
    """Active on a clock that never came."""
    return live_node(PARAMETERS)


@pytest.fixture(scope='module')
def world(graph, node):
    """Starts the clock, and frames with it."""
    world = World(graph)
    graph.wait_for(
        lambda: node.camera_status().frames_buffered and node.captions,
        20,
        'captions under simulated time',
    )
    return world


def image():
    message = image_message(1, 0)
    stream = io.BytesIO()
    PIL.Image.frombytes('RGB', (message.width, message.height), message.data.tobytes()).save(
        stream, 'PNG'
    )
    return CompressedImage(format='png', data=array.array('B', stream.getvalue()))


def frames_of(answer):
    return [stamp_ns(frame.stamp) for frame in answer.evidence.frames]


def test_without_a_clock_services_answer_and_diagnostics_go_on(graph, node):
    node.wait_for_entry('node', DiagnosticStatus.WARN, 'nothing arrives on /clock')
    seen, statuses = len(node.diagnostics), len(node.statuses)
    graph.wait_for(
        lambda: len(node.diagnostics) > seen + 2 and len(node.statuses) > statuses + 2,
        10,
        'diagnostics',
    )
    assert node.state() == 'active' and node.ask().answer.error_code == ErrorCode.NO_FRAMES
    answer = node.ask(images=[image()], max_tokens=4).answer
    assert answer.error_code == ErrorCode.NONE and answer.text
    assert node.set(caption__max_tokens=8)[0].successful


def test_once_the_clock_runs_captions_come_and_the_warning_goes(node, world):
    node.wait_for_entry('node', DiagnosticStatus.OK)
    assert set(frames_of(node.captions[-1])) <= set(world.stamps)
    assert stamp_ns(node.status.header.stamp) <= world.now_ns


def test_a_jump_back_ends_what_looks_at_a_camera_and_no_frame_of_before_is_used(graph, node, world):
    with_camera, waiting = node.send_goal(max_tokens=LONG), node.send_goal(max_tokens=LONG)
    with_image = node.send_goal(images=[image()], max_tokens=LONG)
    with_camera.wait_for_text()
    seen, dropped = len(node.captions), node.drops('clock_jump')
    world.now_ns = 500 * SECOND
    for goal in (with_camera, waiting):
        status, answer = goal.result(10)
        assert (status, answer.error_code) == (GoalStatus.STATUS_ABORTED, ErrorCode.CLOCK_JUMP)
        assert 'went back by' in answer.error_message and bool(answer.text) == (goal is with_camera)
    with_image.wait_for_text()
    with_image.cancel()
    assert with_image.result(10)[1].error_code == ErrorCode.CANCELLED, (
        'a question about images has nothing to do with it'
    )

    def has_new_clip():
        newest = node.captions[-1]
        return (
            len(node.captions) > seen
            and newest.error_code == ErrorCode.NONE
            and len(newest.evidence.frames) > 1
            and max(frames_of(newest)) < 600 * SECOND
        )

    graph.wait_for(has_new_clip, 20, 'a caption of after the jump')
    graph.wait_for(lambda: node.drops('clock_jump') > dropped, 10, 'the count of flushed frames')
    for caption in node.captions[seen:]:
        stamps = frames_of(caption)
        assert stamps == sorted(set(stamps)) and (not stamps or stamps[-1] - stamps[0] < 3 * SECOND)
    assert 'ROS time went back by 5' in node.process.log


def test_a_jump_ahead_makes_old_frames_stale_until_new_ones_come(graph, node, world):
    world.is_filming = False
    graph.wait_for(lambda: frames_of(node.ask(max_tokens=4).answer), 10, 'frames before the jump')
    world.now_ns += 3600 * SECOND
    target = world.now_ns
    graph.wait_for(
        lambda: stamp_ns(node.status.header.stamp) >= target, 10, 'the node to see the new time'
    )
    answer = node.ask(max_tokens=4).answer
    assert (
        answer.error_code == ErrorCode.STALE_FRAMES and answer.evidence.is_stale and not answer.text
    )
    world.is_filming = True
    answer = graph.wait_for(
        lambda: (found := node.ask(max_tokens=4).answer).error_code == ErrorCode.NONE and found,
        20,
        'an answer from new frames',
    )
    assert min(frames_of(answer)) >= target


def test_a_simulation_that_is_paused_stops_neither_answers_nor_diagnostics(graph, node, world):
    world.timer.cancel()
    node.wait_for_entry('camera camera', DiagnosticStatus.ERROR, 'no frame of /camera/image')
    seen = len(node.diagnostics)
    graph.wait_for(lambda: len(node.diagnostics) > seen + 2, 10, 'diagnostics')
    answer = node.ask(max_tokens=4).answer
    assert answer.error_code == ErrorCode.NONE and stamp_ns(answer.evidence.end) <= world.now_ns
    world.timer.reset()
    node.wait_for_entry('camera camera', DiagnosticStatus.OK)
