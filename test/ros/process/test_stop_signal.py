# SPDX-License-Identifier: Apache-2.0
"""Signals ask a process to stop, without an exception anywhere; a process that hangs leaves in
time.
"""

import signal
import subprocess
import sys
import time

import pytest

QUIET = """
import sys, threading
from penguin_ros.ros.process.stop_signal import StopSignal
stop, done = StopSignal(), threading.Event()
stop.install()
stop.on_stop(done.set)
print('ready', flush=True)
done.wait(20)
print('stopped', stop.is_set(), flush=True)
"""
HANGING = """
import time
from penguin_ros.ros.process import stop_signal
stop_signal.LIMIT_S = 0.5
stop = stop_signal.StopSignal()
stop.install()
print('ready', flush=True)
time.sleep(20)
"""


def run(program, number):
    process = subprocess.Popen(
        [sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == 'ready\n'
    start = time.monotonic()
    process.send_signal(number)
    output, error = process.communicate(timeout=20)
    return process.returncode, output, error, time.monotonic() - start


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_calls_back_and_raises_nothing(number):
    code, output, error, _ = run(QUIET, number)
    assert (code, output, error) == (0, 'stopped True\n', '')


def test_a_process_that_hangs_leaves_at_the_limit_and_says_so():
    code, _, error, seconds = run(HANGING, signal.SIGINT)
    assert code == 0 and 'did not end within' in error
    assert seconds < 10


def test_a_late_callback_is_called_at_once():
    from penguin_ros.ros.process.stop_signal import StopSignal

    stop, calls = StopSignal(), []
    stop.request()
    stop.on_stop(lambda: calls.append(1))
    assert calls == [1] and stop.is_set()
