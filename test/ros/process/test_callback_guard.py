# SPDX-License-Identifier: Apache-2.0
"""Exceptions of callbacks are counted and logged once, and go no further."""

import asyncio

from penguin_ros.ros.process.callback_guard import CallbackGuard


class Log:
    def __init__(self):
        self.lines = []

    def error(self, text):
        self.lines.append(text)


def failing(value):
    raise KeyError(value)


async def failing_later(value):
    raise OSError(value)


def test_an_exception_stays_inside_and_is_counted():
    guard = CallbackGuard(Log())
    assert guard.wrap(failing)('x') is None
    guard.wrap(failing)('y')
    assert guard.faults == {'KeyError in failing': 2}
    assert 'y' in guard.last_fault


def test_the_same_fault_is_logged_once_with_its_traceback():
    log = Log()
    guard = CallbackGuard(log)
    for _ in range(3):
        guard.wrap(failing)('x')
    assert len(log.lines) == 1 and 'Traceback' in log.lines[0] and 'raise KeyError' in log.lines[0]


def test_a_coroutine_is_guarded_where_it_runs():
    guard = CallbackGuard(Log())
    assert asyncio.run(guard.wrap(failing_later)('x')) is None
    assert guard.faults == {'OSError in failing_later': 1}


def test_results_and_arguments_pass_through():
    guard = CallbackGuard(Log())
    assert guard.wrap(lambda a, b: a + b)(1, 2) == 3
    assert guard.faults == {}
