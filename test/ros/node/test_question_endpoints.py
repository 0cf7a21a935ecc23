# SPDX-License-Identifier: Apache-2.0
"""What the entries for questions make of an answer, a cancel and a fault, without a graph.

Coroutines are run by hand, as the executors of rclpy run them: step by step until their end.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('penguin_msgs.msg', reason='penguin_msgs is not built')

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import Answer, ErrorCode
from penguin_msgs.srv import Ask
from rclpy.task import Future

from penguin_ros.ros.node import question_endpoints
from penguin_ros.ros.node.question_endpoints import RESULT_SECONDS, QuestionEndpoints
from penguin_ros.ros.node.question_server import QuestionServer
from penguin_ros.ros.process.callback_guard import CallbackGuard


class Logger:
    def error(self, text: str) -> None:
        pass


class Server(QuestionServer):
    """Takes every question; its answer is what the test sets the future of `pending` to."""

    def __init__(self, guard: CallbackGuard) -> None:
        self._guard = guard
        self.cancelled: list[Any] = []

    def start(self, message: Any, on_text: Any = None, is_open: bool = False) -> Any:
        self.pending = SimpleNamespace(id=message.id, future=Future(), on_text=on_text)
        return self.pending

    def cancel(self, pending: Any) -> None:
        self.cancelled.append(pending)


class Goal:
    """A server's goal handle that writes down what is done with it."""

    def __init__(self) -> None:
        self.request = AnswerQuestion.Goal(id='one', question='What?')
        self.goal_id = SimpleNamespace(uuid=[7] * 16)
        self.is_cancel_requested = False
        self.feedback: list[Any] = []
        self.states: list[str] = []

    def publish_feedback(self, message: Any) -> None:
        self.feedback.append(message)

    def succeed(self) -> None:
        self.states.append('succeeded')

    def abort(self) -> None:
        self.states.append('aborted')

    def canceled(self) -> None:
        self.states.append('canceled')


@pytest.fixture
def guard() -> CallbackGuard:
    return CallbackGuard(Logger())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of the action server, which is only recorded."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(
        question_endpoints, 'ActionServer', lambda *_, **named: arguments.update(named)
    )
    return arguments


@pytest.fixture
def endpoints(opened: dict[str, Any], guard: CallbackGuard) -> QuestionEndpoints:
    """Endpoints on a node that only takes note of them."""
    node: Any = SimpleNamespace(
        create_subscription=lambda *_, **__: None, create_service=lambda *_, **__: None
    )
    return QuestionEndpoints(node, Server(guard), guard, 90.0)


def server_of(endpoints: QuestionEndpoints) -> Any:
    return endpoints._question_server


def started(coroutine: Any) -> Any:
    """Runs the coroutine to where it waits."""
    coroutine.send(None)
    return coroutine


def result_of(coroutine: Any) -> Any:
    """Runs the coroutine to its end, which has to come in one step, and returns its result."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


def test_the_response_of_the_service_is_the_answer(endpoints: QuestionEndpoints) -> None:
    waiting = started(endpoints._on_ask(Ask.Request(question='What?'), Ask.Response()))
    assert not endpoints.is_idle
    server_of(endpoints).pending.future.set_result(Answer(text='A bear.'))
    response = result_of(waiting)
    assert response.success and response.answer.text == 'A bear.'
    assert endpoints.is_idle


def test_a_client_of_the_service_gets_an_answer_when_what_it_waits_for_raises(
    endpoints: QuestionEndpoints, guard: CallbackGuard
) -> None:
    waiting = started(endpoints._on_ask(Ask.Request(id='one', question='What?'), Ask.Response()))
    server_of(endpoints).pending.future.set_exception(KeyError('broken on purpose'))
    response = result_of(waiting)
    assert not response.success and response.answer.error_code == ErrorCode.INTERNAL
    assert response.answer.id == 'one' and 'broken on purpose' in response.message
    assert guard.faults == {'KeyError in ~/ask': 1} and endpoints.is_idle


def test_a_goal_is_aborted_with_a_reason_when_what_it_waits_for_raises(
    endpoints: QuestionEndpoints, guard: CallbackGuard
) -> None:
    goal = Goal()
    waiting = started(endpoints._on_goal(goal))
    server_of(endpoints).pending.future.set_exception(KeyError('broken on purpose'))
    answer = result_of(waiting).answer
    assert goal.states == ['aborted'] and answer.error_code == ErrorCode.INTERNAL
    assert answer.id == 'one' and 'broken on purpose' in answer.error_message
    assert guard.faults == {'KeyError in ~/answer_question': 1} and endpoints.is_idle


def test_an_answer_that_cannot_be_started_reaches_the_client_too(
    endpoints: QuestionEndpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError('broken on purpose')

    monkeypatch.setattr(server_of(endpoints), 'start', broken)
    response = result_of(endpoints._on_ask(Ask.Request(question='What?'), Ask.Response()))
    assert response.answer.error_code == ErrorCode.INTERNAL
    goal = Goal()
    assert result_of(endpoints._on_goal(goal)).answer.error_code == ErrorCode.INTERNAL
    assert goal.states == ['aborted']


@pytest.mark.parametrize(
    ('code', 'is_cancel_requested', 'state'),
    [
        (ErrorCode.NONE, False, 'succeeded'),
        (ErrorCode.CANCELLED, True, 'canceled'),
        (ErrorCode.CANCELLED, False, 'aborted'),
        (ErrorCode.BUSY, False, 'aborted'),
    ],
)
def test_the_result_follows_the_state_of_a_goal_without_a_wait_between_them(
    endpoints: QuestionEndpoints, code: int, is_cancel_requested: bool, state: str
) -> None:
    """Some releases of rclpy put an empty result in place with the state: in the same step, before
    it can be sent, ours has to replace it.
    """
    goal = Goal()
    waiting = started(endpoints._on_goal(goal))
    goal.is_cancel_requested = is_cancel_requested
    server_of(endpoints).pending.future.set_result(Answer(id='one', error_code=code))
    assert goal.states == []
    assert result_of(waiting).answer.id == 'one' and goal.states == [state]


def test_no_feedback_is_published_after_the_request_to_cancel(
    endpoints: QuestionEndpoints,
) -> None:
    goal = Goal()
    started(endpoints._on_goal(goal))
    on_text = server_of(endpoints).pending.on_text
    on_text('A bear')
    goal.is_cancel_requested = True
    on_text('A bear walks')
    assert [(message.sequence, message.text, message.piece) for message in goal.feedback] == [
        (0, 'A bear', 'A bear')
    ]


@pytest.mark.parametrize(('is_humble', 'seconds'), [(False, 0.0), (True, 90.0)])
def test_on_humble_results_are_kept_as_long_as_a_question_may_take_and_then_some(
    opened: dict[str, Any],
    guard: CallbackGuard,
    monkeypatch: pytest.MonkeyPatch,
    is_humble: bool,
    seconds: float,
) -> None:
    monkeypatch.setattr(question_endpoints, 'is_humble', lambda: is_humble)
    node: Any = SimpleNamespace(
        create_subscription=lambda *_, **__: None, create_service=lambda *_, **__: None
    )
    QuestionEndpoints(node, Server(guard), guard, 90.0)
    assert opened['result_timeout'] == RESULT_SECONDS + seconds
