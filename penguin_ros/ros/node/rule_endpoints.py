# SPDX-License-Identifier: Apache-2.0
"""The services for rules: `~/set_rule`, `~/remove_rule`, `~/list_rules`, `~/test_rule`.

They run on the executor's thread and share a group in which they do not wait for each other. What
such a callback raises after it has waited reaches nobody in some releases of rclpy, and its client
gets no response: each turns it into a response by itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from penguin_msgs.srv import ListRules, RemoveRule, SetRule, TestRule
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import QoSProfile
from rclpy.task import Future

from penguin_ros.errors import PenguinError
from penguin_ros.frame import to_nanoseconds
from penguin_ros.request import Interval
from penguin_ros.requests.rule_job import RuleResults, firing_answer
from penguin_ros.ros.conversions.error_codes import error_code, error_message
from penguin_ros.ros.conversions.messages import evidence_message
from penguin_ros.ros.conversions.rule_messages import rule_from, rule_message, state_message
from penguin_ros.ros.node.rule_server import RuleServer
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue
from penguin_ros.rules.rule import Rule
from penguin_ros.text import cleaned

ENTRY_DEPTH = 1000
"""A service of the default depth forgets all but the last 10 requests that arrive together."""
TESTED = 'test'
"""Id of a rule that is tested without one."""


class RuleEndpoints:
    """Opens the services of `server`; without a model they say so."""

    def __init__(self, node: Any, executor_queue: ExecutorQueue, guard: CallbackGuard) -> None:
        self.server = RuleServer(node, executor_queue, guard)
        self._node = node
        self._executor_queue = executor_queue
        self._guard = guard
        group, qos = ReentrantCallbackGroup(), QoSProfile(depth=ENTRY_DEPTH)
        for kind, name, serve in (
            (SetRule, '~/set_rule', self._on_set),
            (RemoveRule, '~/remove_rule', self._on_remove),
            (ListRules, '~/list_rules', self._on_list),
            (TestRule, '~/test_rule', self._on_test),
        ):
            node.create_service(kind, name, serve, qos_profile=qos, callback_group=group)

    async def _on_set(self, request: Any, response: Any) -> Any:
        try:
            rule, response.is_replaced = await self.server.set_rule(rule_from(request.rule))
            response.rule = rule_message(rule)
            return _succeeded(response)
        except Exception as error:
            return self._failed(response, '~/set_rule', error)

    async def _on_remove(self, request: Any, response: Any) -> Any:
        try:
            await self.server.remove_rule(request.id)
            return _succeeded(response)
        except Exception as error:
            return self._failed(response, '~/remove_rule', error)

    def _on_list(self, request: Any, response: Any) -> Any:
        try:
            rules = self.server.rules
            found = rules.rules() if rules is not None else ()
            response.rules = [rule_message(rule) for rule in found]
            response.origins = [rules.origin(rule.id) for rule in found] if rules else []
            response.states = [state_message(each) for each in self.server.states()]
            response.problems = [cleaned(text) for text in self.server.problems]
        except Exception as error:
            self._guard.report('~/list_rules', error)
            response.problems = [cleaned(error_message(error))]
        return response

    async def _on_test(self, request: Any, response: Any) -> Any:
        try:
            rule = self.server.tested_rule(_with_id(rule_from(request.rule)))
            interval = (
                Interval(to_nanoseconds(request.start), to_nanoseconds(request.end))
                if request.has_interval
                else None
            )
            camera = request.camera or next(iter(rule.cameras), '')
            results = await self._results(rule, camera, interval)
            if results.error is not None:
                raise results.error
            return _succeeded(_tested(response, rule, results))
        except Exception as error:
            return self._failed(response, '~/test_rule', error)

    def _results(self, rule: Rule, camera: str, interval: Interval | None) -> Future:
        done: Future = Future(executor=self._node.executor)
        self.server.test(
            rule,
            camera,
            interval,
            lambda results: self._executor_queue.post(lambda: done.set_result(results)),
        )
        return done

    def _failed(self, response: Any, place: str, error: Exception) -> Any:
        if not isinstance(error, PenguinError):
            self._guard.report(place, error)
        response.success = False
        response.message = cleaned(error_message(error))
        response.error_code = error_code(error)
        return response


def _with_id(rule: Rule) -> Rule:
    return rule if rule.id else dataclasses.replace(rule, id=TESTED)


def _succeeded(response: Any) -> Any:
    response.success = True
    return response


def _tested(response: Any, rule: Rule, results: RuleResults) -> Any:
    """Fills in what a rule got."""
    first = results.done[0]
    score, answer = first.scores[0], firing_answer(rule)
    response.probability = score.probability_of(answer)
    response.raw_probability = score.raw_probability_of(answer)
    response.other_mass = score.other_mass
    response.reaches_begin = response.probability >= rule.threshold_begin
    response.evidence = evidence_message(first.evidence)
    if rule.choices:
        response.choices = list(rule.choices)
        response.probabilities = list(score.probabilities)
    return response
