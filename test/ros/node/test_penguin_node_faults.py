# SPDX-License-Identifier: Apache-2.0
"""Defects inside the node's process: it lives, counts, tells, and still ends in time."""

import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from support.live_node import scripted_node, with_frames

LONG = 3000


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


@pytest.fixture
def faulty(graph, tiny_checkpoint):
    """Starts an active node on the scripted backend with the fault of that name."""

    def start(fault, **parameters):
        node = scripted_node(
            graph,
            tiny_checkpoint,
            {'question.max_tokens': LONG, **parameters},
            module='support.faulty_node',
            environment={'PENGUIN_FAULT': fault},
        )
        return node.wait_until('active')

    return start


def test_a_node_whose_callbacks_raise_lives_and_tells(faulty, graph):
    node = faulty('failing_callbacks', **{'caption.period': 0.3, 'clip.fps': 10.0})
    with_frames(node)
    graph.wait_for(lambda: node.captions, 30)
    assert node.ask(max_tokens=4).success

    def counts():
        entry = node.wait_for_entry('node', DiagnosticStatus.ERROR, 'exceptions in callbacks')
        return {value.key: int(value.value) for value in entry.values}

    graph.wait_for(
        lambda: any('ValueError' in key and count > 1 for key, count in counts().items()), 20, 'one'
    )
    graph.wait_for(lambda: any('KeyError' in key for key in counts()), 20, 'the other')
    assert node.process.log.count("raise ValueError('broken on purpose')") == 1, (
        'the traceback is logged once'
    )
    drops = dict(
        zip(node.status.cameras[0].drop_causes, node.status.cameras[0].drop_counts, strict=True)
    )
    assert drops['exception'] > 1
    node.process.process.send_signal(2)
    assert node.process.wait_for_exit(5) == 0


def test_clients_get_a_response_when_what_the_node_waits_for_raises(faulty, graph):
    node = faulty('failing_waits', **{'caption.enabled': False, 'question.max_tokens': 4})
    with_frames(node)
    answer = node.ask().answer
    assert answer.error_code == ErrorCode.INTERNAL and 'broken on purpose' in answer.error_message
    status, answer = node.send_goal().result()
    assert (status, answer.error_code) == (GoalStatus.STATUS_ABORTED, ErrorCode.INTERNAL)
    node.publish_question(id='third')
    assert node.wait_for_answer('third').error_code == ErrorCode.INTERNAL
    assert node.ask().success and node.state() == 'active'
    faults = {
        'KeyError in ~/ask',
        'KeyError in ~/answer_question',
        'LookupError in writing an answer',
    }
    graph.wait_for(
        lambda: faults <= set(node.entry_values('node')), 20, 'all three in the diagnostics'
    )


def test_a_transition_that_raises_is_answered_and_can_be_asked_for_again(graph, tiny_checkpoint):
    node = scripted_node(
        graph,
        tiny_checkpoint,
        module='support.faulty_node',
        environment={'PENGUIN_FAULT': 'failing_autostart'},
    )
    node.process.wait_for_log('not started; the node stays')
    assert node.state() == 'unconfigured'
    assert not node.change('configure'), 'a response without success, instead of none'
    assert node.change('configure') and node.change('activate')
    node.wait_for_entry('node', DiagnosticStatus.ERROR, 'exceptions in callbacks')


def test_a_step_that_hangs_is_told_and_does_not_keep_the_node_from_ending(faulty, graph):
    node = faulty('hanging_step', **{'caption.enabled': False, 'watch.step_limit': 0.5})
    with_frames(node)
    goal = node.send_goal(max_tokens=LONG)
    node.wait_for_entry('model', DiagnosticStatus.ERROR, 'hangs')
    assert node.state() == 'active'
    node.process.process.send_signal(2)
    status, answer = goal.result(5)
    assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.INACTIVE
    assert answer.text and answer.text == goal.feedback[-1].text
    assert node.process.wait_for_exit(5) == 0
    assert 'Traceback' not in node.process.log


def test_deadlines_and_cancels_hold_although_a_step_hangs(faulty, graph):
    node = faulty('hanging_step', **{'caption.enabled': False})
    with_frames(node)
    running, cancelled = (
        node.send_goal(max_tokens=LONG, deadline=Duration(sec=seconds)) for seconds in (1, 60)
    )
    status, answer = running.result(10)
    assert status == GoalStatus.STATUS_ABORTED and answer.error_code == ErrorCode.DEADLINE
    assert answer.text == running.feedback[-1].text
    waiting = node.ask(max_tokens=LONG, deadline=Duration(nanosec=10**8), seconds=10).answer
    assert waiting.error_code == ErrorCode.DEADLINE and not waiting.text
    cancelled.cancel()
    assert cancelled.result(10)[0] == GoalStatus.STATUS_CANCELED
    node.process.process.send_signal(2)
    assert node.process.wait_for_exit(5) == 0


def test_a_worker_that_dies_ends_its_requests_and_is_replaced_by_a_new_configure(faulty, graph):
    node = faulty('dying_worker', **{'caption.enabled': False})
    with_frames(node)
    answer = node.ask(max_tokens=LONG).answer
    assert answer.error_code == ErrorCode.BACKEND
    node.wait_for_entry('model', DiagnosticStatus.ERROR, 'worker has ended')
    assert not node.ask().success
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert node.change(transition), transition
    graph.wait_for(lambda: node.ask(max_tokens=4).success, 30)


def test_a_node_whose_device_is_lost_answers_what_it_holds_and_ends_to_be_started_again(
    faulty, graph
):
    node = faulty('lost_device', **{'caption.enabled': False})
    with_frames(node)
    answer = node.ask(max_tokens=LONG).answer
    assert answer.error_code == ErrorCode.BACKEND and 'the GPU stopped' in answer.error_message
    assert node.process.wait_for_exit(10) == 3
    assert 'the node ends, to be started again' in node.process.log
