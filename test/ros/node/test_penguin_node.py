# SPDX-License-Identifier: Apache-2.0
"""The node over real topics: captions and answers with evidence, the three entries, parameters and
diagnostics while it runs.
"""

import array
import io
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import Caption, ErrorCode, ModelInfo, Status
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import SetBool
from support.graph import stamp_ns

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LONG = 3000  # tokens: far more than any test waits for


@pytest.fixture(scope='module')
def node(live_node):
    """Active, with frames arriving."""
    return live_node(
        {'caption.period': 0.5, 'clip.fps': 5.0, 'clip.secnds': 2.0, 'question.queue_length': 4},
        frames_hz=10.0,
    )


def stamp(nanoseconds):
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def await_caption(node):
    seen = len(node.captions)
    return node.graph.wait_for(lambda: node.captions[seen:], 30, 'a caption')[0]


def await_quiet(node):
    """Waits until no caption is under way, seen twice so that none was between two diagnostics."""
    seen = len(node.diagnostics)

    def is_quiet():
        counts = {value.key: value.value for value in node.entry('queue').values}
        return (
            len(node.diagnostics) >= seen + 2
            and counts['captions waiting'] == counts['captions running'] == '0'
        )

    node.graph.wait_for(is_quiet, 20, 'no caption under way')


def busy_with(node):
    """Asks a question that runs until it is cancelled."""
    goal = node.send_goal(max_tokens=LONG)
    goal.wait_for_text()
    return goal


@pytest.fixture
def long_answers(node):
    assert node.set(question__max_tokens=LONG)[0].successful
    yield
    assert node.set(question__max_tokens=8)[0].successful


def test_captions_name_frames_that_were_published(node):
    caption = await_caption(node)
    evidence = caption.evidence
    stamps = [stamp_ns(frame.stamp) for frame in evidence.frames]
    assert caption.error_code == ErrorCode.NONE and caption.text
    assert stamps and stamps == sorted(set(stamps)) and set(stamps) <= set(node.camera.stamps_ns)
    assert (stamp_ns(evidence.start), stamp_ns(evidence.end)) == (stamps[0], stamps[-1])
    assert (
        stamp_ns(caption.header.stamp) == stamps[-1] and caption.header.frame_id == 'camera_optical'
    )
    assert {frame.camera for frame in evidence.frames} == {'camera'} == {caption.camera}
    assert (
        evidence.generated_tokens == 8
        and evidence.visual_tokens > 0
        and evidence.prompt_tokens > evidence.visual_tokens
    )
    assert evidence.backend == 'torch' and len(evidence.model_digest) == 64


def test_a_caption_cut_by_the_limit_of_tokens_says_so(node):
    caption = await_caption(node)
    assert (
        caption.state == Caption.PARTIAL
        and caption.evidence.stop_reason == caption.evidence.MAX_TOKENS
    )


def test_a_late_subscriber_gets_the_last_caption_the_model_and_the_status_at_once(node, graph):
    await_caption(node)
    last = graph.collect(Caption, '/penguin/last_caption', LATCHED)
    info = graph.collect(ModelInfo, '/penguin/model_info', LATCHED)
    status = graph.collect(Status, '/penguin/status', LATCHED)
    graph.wait_for(lambda: last and info and status)
    assert (
        last[0].text
        and info[0].max_length == 4096
        and info[0].device == 'cpu'
        and info[0].precision == 'float32'
    )
    assert info[0].language_parameters > 0 and info[0].weight_bytes == 4 * (
        info[0].language_parameters + info[0].vision_parameters
    )


def test_the_text_of_captions_is_published_as_a_plain_string(node, graph):
    texts = graph.collect(String, '/penguin/caption_text')
    graph.wait_for(lambda: texts, 30)
    graph.wait_for(lambda: texts[0].data in [caption.text for caption in node.captions])


def test_a_service_call_gets_the_whole_answer_which_is_published_too(node):
    response = node.ask(id='by-service')
    assert response.success and response.message == ''
    assert (
        response.answer.text
        and response.answer.id == 'by-service'
        and response.answer.camera == 'camera'
    )
    assert node.wait_for_answer('by-service') == response.answer


def test_a_question_on_the_topic_is_answered_on_the_topic(node):
    node.publish_question(id='by-topic')
    answer = node.wait_for_answer('by-topic')
    assert (
        answer.error_code == ErrorCode.NONE and answer.text and answer.question == 'What is this?'
    )


def test_a_goal_streams_its_text_and_ends_with_the_whole(node):
    goal = node.send_goal(id='by-action')
    status, answer = goal.result()
    assert status == GoalStatus.STATUS_SUCCEEDED and answer.error_code == ErrorCode.NONE
    assert [feedback.sequence for feedback in goal.feedback] == list(range(len(goal.feedback)))
    assert goal.feedback and all(feedback.id == 'by-action' for feedback in goal.feedback)
    assert ''.join(feedback.piece for feedback in goal.feedback) == goal.feedback[-1].text
    assert answer.text.startswith(goal.feedback[-1].text)
    assert node.wait_for_answer('by-action') == answer


def test_a_question_without_an_id_gets_one(node):
    first, second = node.ask().answer.id, node.ask().answer.id
    assert first and second and first != second


def test_a_past_interval_is_answered_from_its_frames(node, graph):
    start, end = node.camera.stamps_ns[-20], node.camera.stamps_ns[-5]
    answer = node.ask(has_interval=True, start=stamp(start), end=stamp(end)).answer
    assert answer.error_code == ErrorCode.NONE
    assert (
        all(start <= stamp_ns(frame.stamp) <= end for frame in answer.evidence.frames)
        and answer.evidence.frames
    )


@pytest.mark.parametrize(
    'fields, code',
    [
        ({'camera': 'nowhere'}, ErrorCode.UNKNOWN_CAMERA),
        ({'question': ' \t'}, ErrorCode.INVALID_QUESTION),
    ],
)
def test_what_is_wrong_with_a_question_is_told_at_every_entry(node, fields, code):
    response = node.ask(**{'question': 'What?', **fields})
    assert (
        not response.success
        and response.answer.error_code == code
        and response.message == response.answer.error_message
    )
    status, answer = node.send_goal(**{'question': 'What?', **fields}).result()
    assert status == GoalStatus.STATUS_ABORTED and answer.error_code == code
    node.publish_question(**{'question': 'What?', 'id': f'wrong {code}', **fields})
    assert node.wait_for_answer(f'wrong {code}').error_code == code


def test_an_id_that_is_running_is_refused(node, long_answers):
    goal = node.send_goal(id='twice', max_tokens=LONG)
    assert node.ask(id='twice').answer.error_code == ErrorCode.DUPLICATE_ID
    goal.cancel()
    assert goal.result()[1].error_code == ErrorCode.CANCELLED


def test_a_goal_is_cancelled_in_the_middle_of_its_text(node, graph, long_answers):
    goal = busy_with(node)
    goal.cancel()
    status, answer = goal.result(5)
    assert status == GoalStatus.STATUS_CANCELED and answer.error_code == ErrorCode.CANCELLED
    assert (
        answer.text.startswith(goal.feedback[0].text)
        and answer.evidence.stop_reason == answer.evidence.CANCELLED
    )


def test_a_goal_is_cancelled_while_it_waits(node, long_answers):
    running, waiting = busy_with(node), node.send_goal(id='waits', max_tokens=LONG)
    waiting.cancel()
    status, answer = waiting.result(5)
    assert status == GoalStatus.STATUS_CANCELED and answer.text == '' and answer.id == 'waits'
    running.cancel()
    running.result(5)


def test_a_full_queue_is_told_at_once_and_a_goal_is_accepted_and_aborted(node, graph, long_answers):
    running = busy_with(node)
    waiting = [node.send_goal(max_tokens=LONG) for _ in range(4)]
    graph.wait_for(lambda: node.status.questions_queued == 5)
    refused = node.send_goal(id='one more')
    status, answer = refused.result(5)
    assert (
        status == GoalStatus.STATUS_ABORTED
        and answer.error_code == ErrorCode.BUSY
        and answer.id == 'one more'
    )
    assert answer.error_message and node.ask(seconds=5).answer.error_code == ErrorCode.BUSY
    node.wait_for_entry('queue', DiagnosticStatus.WARN)
    for goal in (running, *waiting):
        goal.cancel()
    assert [goal.result(10)[0] for goal in (running, *waiting)] == [GoalStatus.STATUS_CANCELED] * 5


def test_a_deadline_ends_an_answer_with_the_text_so_far(node, long_answers):
    response = node.ask(max_tokens=LONG, deadline=Duration(nanosec=300_000_000))
    assert response.answer.error_code == ErrorCode.DEADLINE


def test_captions_are_switched_off_and_on(node, graph):
    enable = graph.client(SetBool, '/penguin/enable')
    assert graph.call(enable, SetBool.Request(data=False)).success
    graph.wait_for(lambda: not node.status.is_captioning_enabled)
    await_quiet(node)
    seen = len(node.captions)
    assert graph.holds_for(lambda: len(node.captions) == seen, 2.0)
    assert graph.call(enable, SetBool.Request(data=True)).success
    await_caption(node)


def test_a_typo_in_the_parameters_is_warned_about_with_the_nearest_name(node):
    assert (
        'unknown parameter clip.secnds' in node.process.log
        and 'Did you mean clip.seconds?' in node.process.log
    )


def test_a_live_parameter_applies_to_the_next_caption(node, graph):
    assert node.set(caption__max_tokens=3)[0].successful
    graph.wait_for(lambda: await_caption(node).evidence.generated_tokens == 3, 30)
    assert node.set(caption__max_tokens=8)[0].successful


def test_another_period_of_captions_applies_at_once(node, graph):
    assert node.set(caption__period=3600.0)[0].successful
    await_quiet(node)
    seen = len(node.captions)
    assert graph.holds_for(lambda: len(node.captions) == seen, 1.5)
    assert node.set(caption__period=0.5)[0].successful
    await_caption(node)


def test_nonsense_and_parameters_of_the_model_are_refused_while_it_runs(node):
    results = node.set(
        clip__fps=-1.0, model__checkpoint='/elsewhere', visual__policy='none', cameras=['other']
    )
    assert [result.successful for result in results] == [False] * 4
    assert all(result.reason for result in results) and 'cleanup' in results[1].reason
    assert node.ask().success


def test_parameters_describe_themselves_over_the_service(node, graph):
    client = graph.client(DescribeParameters, '/penguin/describe_parameters')
    descriptors = graph.call(
        client, DescribeParameters.Request(names=['clip.fps', 'visual.policy'])
    ).descriptors
    assert (
        'Hz' in descriptors[0].description
        and descriptors[0].floating_point_range[0].to_value == 240.0
    )
    assert 'fixed' in descriptors[1].additional_constraints


def test_diagnostics_tell_of_camera_model_queue_and_node_once_per_second(node, graph):
    for task in ('camera camera', 'model', 'queue', 'node'):
        node.wait_for_entry(task, DiagnosticStatus.OK)
    seen = len(node.diagnostics)
    graph.wait_for(lambda: len(node.diagnostics) >= seen + 3, 10)
    stamps = [stamp_ns(array.header.stamp) for array in node.diagnostics[-3:]]
    assert 0.5e9 < stamps[1] - stamps[0] < 3e9


def test_the_status_counts_what_happened(node, graph):
    before = node.status
    node.ask()
    node.ask(question='')
    graph.wait_for(
        lambda: (
            node.status.questions_answered == before.questions_answered + 1
            and node.status.questions_refused == before.questions_refused + 1
        )
    )
    camera = node.status.cameras[0]
    assert (camera.name, camera.topic, camera.transport, camera.state) == (
        'camera',
        '/camera/image',
        'raw',
        camera.OK,
    )
    assert camera.frames_received > 0 and camera.bytes_buffered > 0 and 0 < camera.rate_hz < 30
    assert node.status.mean_answer_latency.sec + node.status.mean_answer_latency.nanosec > 0


def image(kind='JPEG', size=(48, 32)):
    content = io.BytesIO()
    PIL.Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    ).save(content, kind)
    return message(content.getvalue())


def message(content):
    return CompressedImage(format='jpeg', data=array.array('B', content))


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_a_question_about_images_that_it_brings_needs_no_camera(node, kind):
    answer = node.ask(images=[image(kind), image(kind)], max_tokens=4).answer
    assert answer.error_code == ErrorCode.NONE and answer.text
    assert answer.camera == '' and [frame.camera for frame in answer.evidence.frames] == ['', '']
    assert answer.evidence.visual_tokens > 0


@pytest.mark.parametrize(
    'images, code',
    [
        ([image()] * 9, ErrorCode.TOO_MANY_IMAGES),
        ([message(b'')], ErrorCode.INVALID_IMAGE),
        ([message(b'\xff\xd8\xff nonsense')], ErrorCode.INVALID_IMAGE),
        ([message(bytes(17 * 2**20))], ErrorCode.INVALID_IMAGE),
        ([image(), image('PNG', (1, 1)), message(b'GIF89a')], ErrorCode.INVALID_IMAGE),
    ],
    ids=['too many', 'empty', 'corrupt', 'too many bytes', 'one of three'],
)
def test_images_that_cannot_be_used_are_refused_with_the_reason(node, images, code):
    response = node.ask(images=images)
    assert response.answer.error_code == code and response.message
    assert node.ask(max_tokens=2, images=[image()]).success


def test_a_goal_is_cancelled_while_its_images_are_decoded(node, long_answers):
    goal = node.send_goal(images=[image(size=(1500, 1500))] * 4, max_tokens=LONG)
    goal.cancel()
    status, answer = goal.result(10)
    assert status == GoalStatus.STATUS_CANCELED and answer.error_code == ErrorCode.CANCELLED


def test_a_client_that_dies_in_the_middle_of_its_goal_leaves_the_node_alive(
    node, graph, long_answers
):
    client = subprocess.Popen(
        [sys.executable, '-c', DYING_CLIENT],
        env={**os.environ, 'ROS_DOMAIN_ID': str(graph.domain.number)},
    )
    graph.wait_for(
        lambda: client.poll() is not None or node.status.questions_queued,
        60,
        'the goal of the client',
    )
    client.kill()
    client.wait()
    answer = node.wait_for_answer('of a dying client', 60)
    assert answer.error_code == ErrorCode.DEADLINE
    assert node.ask(max_tokens=4).success


DYING_CLIENT = """
import rclpy
from builtin_interfaces.msg import Duration
from penguin_msgs.action import AnswerQuestion
from rclpy.action import ActionClient
rclpy.init()
node = rclpy.create_node('dying_client')
client = ActionClient(node, AnswerQuestion, '/penguin/answer_question')
client.wait_for_server()
goal = AnswerQuestion.Goal(
    id='of a dying client', question='What?', max_tokens=3000, deadline=Duration(sec=6)
)
rclpy.spin_until_future_complete(node, client.send_goal_async(goal))
rclpy.spin(node)
"""
