# SPDX-License-Identifier: Apache-2.0
"""What a browser asks of a node, as coroutines of the asyncio loop over clients of the executor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import Rule
from penguin_msgs.srv import ListRules, Recall, RemoveRule, SetRule, TestRule
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.client.question_client import cancel_when_taken
from penguin_ros.ros.console_node.page_values import page_value, rule_of_page
from penguin_ros.ros.console_node.watched_node import WatchedNode
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.web_console.robot import Fields, OnPiece, Refused

READY_S = 3.0
CALL_S = 30.0
ANSWER_S = 300.0
LOOK_S = 0.5
"""From one look to the next whether the node is still there."""
LOCKED = 'only while unconfigured'
"""What the text of a parameter says that does not change while the node works."""

Call = Callable[[WatchedNode, Fields, OnPiece], Any]


async def done(future: Any, timeout_s: float, watched: WatchedNode | None = None) -> Any:
    """Waits for a future of rclpy on the asyncio loop; Refused when it takes too long, or when the
    node that was asked goes.
    """
    loop = asyncio.get_running_loop()
    ours: asyncio.Future[Any] = loop.create_future()

    def finish() -> None:
        if not ours.done():
            ours.set_result(None)

    future.add_done_callback(lambda _: loop.call_soon_threadsafe(finish))
    end_s = loop.time() + timeout_s
    while not ours.done():
        if watched is not None and watched.is_closed:
            raise Refused(f'{watched.name} went away: it no longer runs')
        left_s = end_s - loop.time()
        if left_s <= 0:
            raise Refused(f'the node did not answer within {timeout_s:g} s')
        await asyncio.wait({ours}, timeout=min(LOOK_S, left_s))
    return future.result()


async def ready(is_ready: Callable[[], bool], what: str) -> None:
    """Waits for a server to be discovered; Refused when it is not."""
    waited = 0.0
    while not is_ready():
        if waited >= READY_S:
            raise Refused(f'{what} is not there. Type: penguin doctor')
        await asyncio.sleep(0.05)
        waited += 0.05


async def called(watched: WatchedNode, kind: Any, name: str, request: Any) -> Any:
    """Calls a service of the node and returns its response."""
    client = watched.client(kind, name)
    await ready(client.service_is_ready, f'{watched.name}/{name}')
    return await done(client.call_async(request), CALL_S, watched)


async def ask(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Asks through the action; cancelling the coroutine cancels the asked."""
    asked = AnswerQuestion.Goal(
        question=fields.get('question', ''),
        camera=fields.get('camera', ''),
        choices=[str(choice) for choice in fields.get('choices', [])],
        conversation=fields.get('conversation', ''),
        max_tokens=max(0, min(2**31, int(fields.get('max_tokens', 0)))),
    )
    last = float(fields.get('last', 0.0))
    if last > 0:
        now_ns = watched.now_ns()
        asked.has_interval = True
        asked.start = time_message(max(0, now_ns - round(last * NANOSECONDS)))
        asked.end = time_message(now_ns)
    await ready(watched.action.server_is_ready, watched.name)
    loop = asyncio.get_running_loop()

    def on_feedback(message: Any) -> None:
        piece = {'text': message.feedback.text, 'sequence': message.feedback.sequence}
        loop.call_soon_threadsafe(on_piece, piece)

    sent = watched.action.send_goal_async(asked, feedback_callback=on_feedback)
    try:
        handle = await done(sent, CALL_S, watched)
    except (asyncio.CancelledError, Refused):
        sent.add_done_callback(cancel_when_taken)  # a node that takes it later would answer nobody
        raise
    if not handle.accepted:
        raise Refused(
            f'{watched.name} takes no questions: it is not active. '
            f'Type: ros2 lifecycle set {watched.name} activate'
        )
    try:
        result = await done(handle.get_result_async(), ANSWER_S, watched)
    except (asyncio.CancelledError, Refused):
        if not watched.is_closed:
            handle.cancel_goal_async()
        raise
    return {'answer': page_value(result.result.answer)}


async def rules(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Lists the rules."""
    return dict(page_value(await called(watched, ListRules, 'list_rules', ListRules.Request())))


async def set_rule(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Sets a rule."""
    request = SetRule.Request(rule=_rule(fields))
    return _told(await called(watched, SetRule, 'set_rule', request))


async def remove_rule(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Removes a rule."""
    request = RemoveRule.Request(id=fields.get('rule', ''))
    return _told(await called(watched, RemoveRule, 'remove_rule', request))


async def test_rule(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Evaluates a rule once, on what the camera shows now."""
    request = TestRule.Request(rule=_rule(fields), camera=fields.get('camera', ''))
    return _told(await called(watched, TestRule, 'test_rule', request))


async def parameters(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Lists the node's parameters with their values, ranges and meanings."""
    listed = await called(watched, ListParameters, 'list_parameters', ListParameters.Request())
    names = sorted(listed.result.names)
    values = await called(
        watched, GetParameters, 'get_parameters', GetParameters.Request(names=names)
    )
    described = await called(
        watched, DescribeParameters, 'describe_parameters', DescribeParameters.Request(names=names)
    )
    return {
        'parameters': [
            {**_described(descriptor), 'value': page_value(parameter_value_to_python(value))}
            for value, descriptor in zip(values.values, described.descriptors, strict=False)
        ]
    }


async def set_parameter(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Sets one parameter; Refused with the node's own words."""
    name = fields.get('name', '')
    try:
        value = Parameter(name, value=fields.get('value')).get_parameter_value()
    except (TypeError, AttributeError, AssertionError):
        raise Refused(f'{name} does not take such a value') from None
    request = SetParameters.Request(parameters=[ParameterMessage(name=name, value=value)])
    (result,) = (await called(watched, SetParameters, 'set_parameters', request)).results
    if not result.successful:
        raise Refused(result.reason or f'{name} was not changed')
    return {'name': name}


async def series(watched: WatchedNode, fields: Fields, on_piece: OnPiece) -> Fields:
    """Returns the last probabilities of each rule on each camera."""
    return {
        'series': [
            {'rule': rule, 'camera': camera, 'points': [[str(at), value] for at, value in points]}
            for (rule, camera), points in watched.series.items()
        ]
    }


async def recall(client: Any, now_ns: int, fields: Fields) -> Any:
    """Asks a memory node what was seen and returns its response; `client` is that of its
    service.
    """
    wanted = Recall.Request(
        words=fields.get('words', ''),
        camera=fields.get('camera', ''),
        page=fields.get('page', ''),
        is_newest_first=not fields.get('words'),
        wants_pictures=True,
    )
    last = float(fields.get('last', 0.0))
    if last > 0:
        wanted.has_interval = True
        wanted.start = time_message(max(0, now_ns - round(last * NANOSECONDS)))
        wanted.end = time_message(now_ns)
    await ready(client.service_is_ready, client.srv_name)
    return _succeeded(await done(client.call_async(wanted), CALL_S))


CALLS: Mapping[str, Call] = {
    'ask': ask,
    'rules': rules,
    'series': series,
    'set_rule': set_rule,
    'remove_rule': remove_rule,
    'test_rule': test_rule,
    'parameters': parameters,
    'set_parameter': set_parameter,
}


def _rule(fields: Fields) -> Rule:
    try:
        return rule_of_page(fields.get('rule', {}), Rule())
    except ValueError as error:
        raise Refused(str(error)) from None


def _told(response: Any) -> Fields:
    return dict(page_value(_succeeded(response)))


def _succeeded(response: Any) -> Any:
    if not response.success:
        raise Refused(response.message)
    return response


def _described(descriptor: Any) -> dict[str, Any]:
    ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
    return {
        'name': descriptor.name,
        'text': descriptor.description,
        'constraints': descriptor.additional_constraints,
        'is_live': not (descriptor.read_only or LOCKED in descriptor.description),
        'range': [ranges[0].from_value, ranges[0].to_value] if ranges else None,
    }
