# SPDX-License-Identifier: Apache-2.0
"""Two hundred questions at once, by each entry: every one is answered or told that the queue is
full, and counted.
"""

from collections import Counter

import pytest
from action_msgs.msg import GoalStatus
from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import ErrorCode
from penguin_msgs.srv import Ask

from penguin_ros.ros.client.question_client import AskedQuestion, QuestionClient
from penguin_ros.ros.client.session import Session

FLOOD = 200
QUEUE = 8
PARAMETERS = {
    'question.queue_length': QUEUE,
    'question.max_tokens': 4,
    'caption.period': 0.5,
    'clip.fps': 5.0,
}


@pytest.fixture(scope='module')
def node(live_node):
    """Active, with frames arriving."""
    return live_node(PARAMETERS, frames_hz=10.0)


def ended(node):
    """Returns how many questions have ended, as the node counts them."""
    return (
        node.status.questions_answered
        + node.status.questions_refused
        + node.status.questions_failed
    )


def published(node, name):
    """Returns the answers on the topic whose id begins with `name`, by id."""
    return {answer.id: answer for answer in node.answers if answer.id.startswith(name)}


@pytest.fixture
def quiet(node):
    """Waits until the counts of the node stand still."""

    def is_quiet():
        return (
            len(node.statuses) > 2
            and node.status.questions_queued == 0
            and ended(node) == ended_at(node, -2)
        )

    node.graph.wait_for(is_quiet, 20, 'a node with nothing to do')


def ended_at(node, index):
    status = node.statuses[index]
    return status.questions_answered + status.questions_refused + status.questions_failed


def assert_answered_and_counted(node, name, before, counted_before, count):
    """All `count` answers are on the topic, each with its own id, and the node's counts agree with
    them.
    """
    node.graph.wait_for(
        lambda: len(published(node, name)) == count, 30, f'{count} answers on the topic'
    )
    codes = Counter(answer.error_code for answer in published(node, name).values())
    assert set(codes) <= {ErrorCode.NONE, ErrorCode.BUSY} and codes[ErrorCode.NONE] >= QUEUE
    assert len(node.answers) - before == count
    node.graph.wait_for(
        lambda: ended(node) - counted_before == count and node.status.questions_queued == 0,
        20,
        'the counts',
    )
    return codes


def test_each_call_of_the_service_is_answered_or_busy(graph, node, quiet):
    before, counted = len(node.answers), ended(node)
    client = graph.client(Ask, '/penguin/ask')
    calls = [
        client.call_async(Ask.Request(id=f'call {number}', question='What?'))
        for number in range(FLOOD)
    ]
    graph.wait_for(lambda: all(call.done() for call in calls), 60, 'all responses')
    assert [call.result().answer.id for call in calls] == [
        f'call {number}' for number in range(FLOOD)
    ]
    codes = assert_answered_and_counted(node, 'call ', before, counted, FLOOD)
    assert codes == Counter(call.result().answer.error_code for call in calls)
    assert codes[ErrorCode.BUSY] == sum(not call.result().success for call in calls) > 0
    assert all(
        call.result().answer == published(node, 'call ')[call.result().answer.id] for call in calls
    )


def test_each_goal_is_accepted_and_ends_with_an_answer_or_busy(graph, node, quiet):
    before, counted = len(node.answers), ended(node)
    client = graph.action_client(AnswerQuestion, '/penguin/answer_question')
    sent = [
        client.send_goal_async(AnswerQuestion.Goal(id=f'goal {number}', question='What?'))
        for number in range(FLOOD)
    ]
    graph.wait_for(lambda: all(goal.done() for goal in sent), 60, 'all goals taken')
    assert all(goal.result().accepted for goal in sent)
    futures = [goal.result().get_result_async() for goal in sent]
    graph.wait_for(lambda: all(future.done() for future in futures), 60, 'all results')
    results = [future.result() for future in futures]
    assert [result.result.answer.id for result in results] == [
        f'goal {number}' for number in range(FLOOD)
    ]
    for result in results:
        is_answered = result.result.answer.error_code == ErrorCode.NONE
        assert result.status == (
            GoalStatus.STATUS_SUCCEEDED if is_answered else GoalStatus.STATUS_ABORTED
        )
    assert_answered_and_counted(node, 'goal ', before, counted, FLOOD)


def test_each_question_on_the_topic_is_answered_or_busy(node, quiet):
    before, counted = len(node.answers), ended(node)
    for number in range(FLOOD):
        node.publish_question(id=f'topic {number}')
    assert_answered_and_counted(node, 'topic ', before, counted, FLOOD)


def test_of_a_stock_client_every_request_that_arrived_is_answered_and_counted(graph, node, quiet):
    """Its services keep the last 10 requests and responses, so that most of a flood is lost before
    or after the node.
    """
    before, counted = len(node.answers), ended(node)
    client = graph.node.create_client(Ask, '/penguin/ask')
    graph.wait_for(client.service_is_ready)
    calls = [
        client.call_async(Ask.Request(id=f'stock {number}', question='What?'))
        for number in range(FLOOD)
    ]
    graph.wait_for(
        lambda: (
            len(published(node, 'stock ')) >= QUEUE
            and node.status.questions_queued == 0
            and ended(node) - counted
            == len(node.answers) - before
            == len(published(node, 'stock '))
            and ended_at(node, -2) == ended(node)
        ),
        30,
        'an answer to each that was taken',
    )
    responses = [call.result() for call in calls if call.done()]
    assert responses, 'not one response came back'
    assert all(
        response.answer == published(node, 'stock ')[response.answer.id] for response in responses
    )
    assert set(Counter(answer.error_code for answer in published(node, 'stock ').values())) <= {
        ErrorCode.NONE,
        ErrorCode.BUSY,
    }
    graph.node.destroy_client(client)


def test_our_own_client_gets_its_answer_in_the_middle_of_a_flood(graph, node, quiet):
    others = graph.client(Ask, '/penguin/ask')
    calls = [
        others.call_async(Ask.Request(id=f'other {number}', question='What?'))
        for number in range(FLOOD)
    ]
    answer = QuestionClient(Session(graph.node, graph.executor), '/penguin').ask(
        AskedQuestion('And mine?'), lambda text: None, 30.0
    )
    assert answer.error_code in (ErrorCode.NONE, ErrorCode.BUSY) and answer.question == 'And mine?'
    graph.wait_for(lambda: all(call.done() for call in calls), 60, 'the answers of the others')


def test_captions_go_on_after_a_flood(node, quiet):
    seen = len(node.captions)
    node.graph.wait_for(
        lambda: any(caption.error_code == ErrorCode.NONE for caption in node.captions[seen + 1 :]),
        20,
        'captions',
    )
