# SPDX-License-Identifier: Apache-2.0
"""The life of the node process: loading, transitions, failures, its quiet end in every state."""

import os
import signal

import psutil
import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from support.live_node import LiveNode, scripted_node, with_frames

LONG = 3000
LONG_ANSWERS = {'question.max_tokens': LONG}
BY_HAND = {'autostart': False}


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


def configured_and_active(node):
    assert node.change('configure') and node.change('activate')


def test_a_node_without_autostart_waits_unconfigured_and_answers_inactive(graph, tiny_checkpoint):
    node = LiveNode(graph, tiny_checkpoint, BY_HAND)
    node.wait_until('unconfigured')
    assert not node.status.is_model_loaded
    answer = node.ask().answer
    assert answer.error_code == ErrorCode.INACTIVE and 'configure' in answer.error_message
    status, answer = node.send_goal().result()
    assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.INACTIVE
    node.wait_for_entry('model', DiagnosticStatus.WARN, 'no model loaded')
    node.process.stop()


def test_the_node_goes_on_answering_while_it_loads(graph, loadable_checkpoint):
    node = LiveNode(graph, loadable_checkpoint, BY_HAND).wait_until('unconfigured')
    assert node.state() == 'unconfigured' and node.ask().answer.error_code == ErrorCode.INACTIVE
    is_configured = node.begin('configure')
    node.process.wait_for_log('loading the weights')
    assert node.state() == 'configuring'
    assert node.ask().answer.error_code == ErrorCode.INACTIVE
    assert not node.change('activate'), 'a transition in the middle of another one must be refused'
    assert graph.result(is_configured, 90).success and node.state() == 'inactive'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_loading_ends_the_node_quietly(graph, tiny_checkpoint, number):
    node = LiveNode(graph, tiny_checkpoint)
    node.process.wait_for_log('loading the weights')
    node.process.stop(number)


def test_a_signal_at_the_very_start_ends_the_node_quietly(graph, tiny_checkpoint):
    node = LiveNode(graph, tiny_checkpoint)
    graph.holds_for(lambda: True, 0.3)
    node.process.stop()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_an_answer_aborts_the_goal_and_ends_quietly(
    graph, loadable_checkpoint, number
):
    node = LiveNode(graph, loadable_checkpoint, LONG_ANSWERS).wait_until('active')
    with_frames(node)
    running, waiting = node.send_goal(max_tokens=LONG), node.send_goal(max_tokens=LONG)
    running.wait_for_text(3)
    node.process.stop(number)
    for goal in (running, waiting):
        status, answer = goal.result(2)
        assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.INACTIVE
    assert running.result()[1].text


def test_deactivating_in_the_middle_of_goals_aborts_them_with_the_reason(
    graph, loadable_checkpoint
):
    node = LiveNode(graph, loadable_checkpoint, LONG_ANSWERS).wait_until('active')
    with_frames(node)
    running, waiting = node.send_goal(max_tokens=LONG), node.send_goal(max_tokens=LONG)
    running.wait_for_text()
    assert node.change('deactivate', 5)
    for goal in (running, waiting):
        status, answer = goal.result(5)
        assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.INACTIVE
        assert 'deactivated' in answer.error_message
    assert node.ask().answer.error_code == ErrorCode.INACTIVE
    seen = len(node.captions)
    assert graph.holds_for(lambda: len(node.captions) == seen, 2.5)
    assert node.change('activate')
    graph.wait_for(lambda: node.ask(max_tokens=4).success, 30)
    node.process.stop()


def test_a_checkpoint_that_is_missing_leaves_the_node_up_and_says_what_to_do(
    graph, tiny_checkpoint, tmp_path
):
    node = scripted_node(graph, tmp_path / 'nowhere')
    node.process.wait_for_log('the model is not loaded')
    node.wait_until('unconfigured')
    node.wait_for_entry('model', DiagnosticStatus.ERROR, 'nowhere')
    assert (
        node.status.last_error_code == ErrorCode.CHECKPOINT
        and 'nowhere' in node.status.last_error_message
    )
    assert node.set(model__checkpoint=str(tiny_checkpoint))[0].successful
    configured_and_active(node)
    node.wait_for_entry('model', DiagnosticStatus.OK)
    with_frames(node)
    assert node.ask(max_tokens=4).success
    node.process.stop()


def test_a_node_without_any_checkpoint_says_which_parameter_to_set(graph):
    node = LiveNode(graph, None)
    node.process.wait_for_log('neither model.bundle nor model.checkpoint is set')
    node.wait_until('unconfigured')
    node.process.stop()


def test_a_nonsense_parameter_at_the_start_ends_the_process_with_a_sentence(graph, tiny_checkpoint):
    node = LiveNode(graph, tiny_checkpoint, {'clip.fps': -3.0})
    assert node.process.wait_for_exit() == 2
    assert 'clip.fps' in node.process.log and 'Traceback' not in node.process.log


def test_transitions_that_the_state_does_not_allow_are_refused_and_harm_nothing(
    graph, tiny_checkpoint
):
    node = scripted_node(graph, tiny_checkpoint, BY_HAND).wait_until('unconfigured')
    assert (
        not node.change('activate') and not node.change('deactivate') and not node.change('cleanup')
    )
    configured_and_active(node)
    assert not node.change('configure') and not node.change('cleanup')
    assert node.state() == 'active'
    node.process.stop()


def test_a_shutdown_transition_ends_requests_and_leaves_a_finalized_node(
    graph, loadable_checkpoint
):
    node = LiveNode(graph, loadable_checkpoint, LONG_ANSWERS).wait_until('active')
    with_frames(node)
    goal = node.send_goal(max_tokens=LONG)
    goal.wait_for_text()
    assert node.change('active_shutdown', 10)
    assert goal.result(5)[1].error_code == ErrorCode.INACTIVE
    assert node.state() == 'finalized'
    node.process.stop()


def test_cameras_and_model_change_between_cleanup_and_configure(graph, tiny_checkpoint):
    node = scripted_node(graph, tiny_checkpoint).wait_until('active')
    assert node.change('deactivate') and node.change('cleanup')
    assert node.set(cameras=['left', 'right'])[0].successful
    assert [
        result.successful
        for result in node.set(camera__right__topic='/elsewhere', model__max_length=512)
    ] == [True, True]
    configured_and_active(node)
    graph.wait_for(
        lambda: [camera.topic for camera in node.status.cameras] == ['/left/image', '/elsewhere']
    )
    with_frames(node, '/elsewhere')
    assert node.ask(camera='right', max_tokens=4).success
    assert node.ask(camera='camera').answer.error_code == ErrorCode.UNKNOWN_CAMERA
    node.process.stop()


def cycle(node):
    for transition in ('deactivate', 'activate', 'deactivate', 'cleanup', 'configure', 'activate'):
        assert node.change(transition), transition


def footprint(process):
    """Returns threads, open files and resident bytes of a process."""
    with process.oneshot():
        return process.num_threads(), process.num_fds(), process.memory_info().rss


@pytest.mark.slow
def test_many_cycles_through_all_states_leak_nothing(graph, loadable_checkpoint):
    node = LiveNode(graph, loadable_checkpoint, {'caption.period': 0.1}).wait_until('active')
    with_frames(node)
    process = psutil.Process(node.process.process.pid)
    for _ in range(10):
        cycle(node)
    threads, files, memory = footprint(process)
    for _ in range(60):
        cycle(node)
    after = footprint(process)
    assert after[0] <= threads and after[1] <= files
    assert after[2] - memory < 15e6, f'{(after[2] - memory) / 1e6:.1f} MB more after 60 cycles'
    graph.wait_for(lambda: node.ask(max_tokens=4).success, 30)
    node.process.stop()


def test_a_few_cycles_leave_as_many_threads_and_files(graph, tiny_checkpoint):
    node = scripted_node(graph, tiny_checkpoint).wait_until('active')
    with_frames(node)
    process = psutil.Process(node.process.process.pid)
    cycle(node)
    threads, files, _ = footprint(process)
    for _ in range(3):
        cycle(node)
    assert footprint(process)[0] <= threads and footprint(process)[1] <= files
    graph.wait_for(lambda: node.ask(max_tokens=4).success, 30)
    node.process.stop()


def test_two_nodes_in_two_namespaces_do_not_hear_each_other(graph, tiny_checkpoint):
    first = scripted_node(graph, tiny_checkpoint, name='/a/penguin')
    second = scripted_node(graph, tiny_checkpoint, name='/b/seer')
    first.wait_until('active')
    second.wait_until('active')
    with_frames(first, '/a/camera/image')
    graph.wait_for(lambda: first.captions, 30)
    assert first.ask(id='only for a').success and not second.captions
    assert second.ask(id='only for b').answer.error_code == ErrorCode.NO_FRAMES
    assert {answer.id for answer in first.answers} == {'only for a'}
    first.process.stop()
    second.process.stop()


def test_topics_follow_remappings(graph, tiny_checkpoint):
    node = scripted_node(
        graph, tiny_checkpoint, arguments=('-r', 'camera/image:=/front/image_raw')
    ).wait_until('active')
    with_frames(node, '/front/image_raw')
    assert node.status.cameras[0].topic == '/front/image_raw'
    assert node.ask(max_tokens=4).success
    node.process.stop()


def test_a_second_node_of_the_same_name_is_named_loudly(graph):
    first, second = LiveNode(graph, None, BY_HAND), LiveNode(graph, None, BY_HAND)
    first.process.wait_for_log('another node is called /penguin too')
    first.wait_for_entry('node', DiagnosticStatus.WARN, 'another node')
    first.process.stop()
    second.process.stop()


def test_simulated_time_without_a_clock_is_told_and_services_still_answer(graph, tiny_checkpoint):
    node = scripted_node(graph, tiny_checkpoint, {'use_sim_time': True}).wait_until('active')
    node.wait_for_entry('node', DiagnosticStatus.WARN, '/clock')
    assert node.ask().answer.error_code == ErrorCode.NO_FRAMES
    node.process.stop()


def test_without_the_built_messages_the_node_says_the_command(graph, tmp_path):
    path = os.pathsep.join(
        part
        for part in os.environ.get('PYTHONPATH', '').split(os.pathsep)
        if '/install' not in part
    )
    process = graph.start(environment={'PYTHONPATH': path})
    assert process.wait_for_exit() == 2
    assert (
        'penguin_msgs is not built' in process.log
        and './scripts/setup' in process.log
        and 'Traceback' not in process.log
    )
