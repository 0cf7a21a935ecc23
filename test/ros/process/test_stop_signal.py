# SPDX-License-Identifier: Apache-2.0
"""Signals ask a process to stop, without an exception anywhere; a process that hangs leaves in
time.
"""

import signal
import subprocess
import sys
import threading
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
    assert code == 0 and 'still busy with starting; leaving' in error
    assert 'model' not in error, 'there is none'
    assert seconds < 10


HALTED = """
import os, signal, sys, threading, time
from penguin_ros.ros.process import stop_signal
stop_signal.LIMIT_S = 1.0
stop = stop_signal.StopSignal()
stop.install()
done = threading.Event()
stop.on_stop(done.set)
print('ready', flush=True)
done.wait(20)
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(0.05)
print('ended by itself', flush=True)
"""


def test_a_process_that_was_stopped_for_a_while_ends_by_itself_afterwards():
    process = subprocess.Popen(
        [sys.executable, '-c', HALTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 20
    while status(process.pid) != 'T' and time.monotonic() < deadline:
        time.sleep(0.01)
    end = time.monotonic() + 1.5  # longer than the limit
    while time.monotonic() < end:
        assert status(process.pid) == 'T'
        time.sleep(0.05)
    process.send_signal(signal.SIGCONT)
    output, error = process.communicate(timeout=20)
    assert (process.returncode, output, error) == (0, 'ended by itself\n', '')


def status(pid):
    with open(f'/proc/{pid}/stat') as file:
        return file.read().rpartition(')')[2].split()[0]


def test_a_model_is_named_only_where_one_is_running():
    from penguin_ros.ros.process.stop_signal import StopSignal

    stop = StopSignal('sim_camera')
    stop.enter('an image')
    assert stop._doing() == 'an image'
    release = threading.Event()
    worker = threading.Thread(target=release.wait, name='penguin worker')
    worker.start()
    assert stop._doing() == 'a step of the model'
    release.set()
    worker.join()


def test_a_late_callback_is_called_at_once():
    from penguin_ros.ros.process.stop_signal import StopSignal

    stop, calls = StopSignal(), []
    stop.request()
    stop.on_stop(lambda: calls.append(1))
    assert calls == [1] and stop.is_set()
