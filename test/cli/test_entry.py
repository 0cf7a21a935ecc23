# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the first moments of the command, and in its last, ends it without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.{before})

def wait():
    print('now', flush=True)
    time.sleep(0.2 if '{before}' == 'SIG_IGN' else 60)

class Slow:
    '''Finds the front end, and takes its time at the stage that is tested.'''
    def find_spec(self, name, path=None, target=None):
        if name == 'penguin_ros.cli.main':
            if '{stage}' == 'import':
                wait()
            module = types.ModuleType(name)
            module.main = lambda: wait() if '{stage}' == 'run' else 7
            sys.modules[name] = module
            import importlib.machinery
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return sys.modules[spec.name]
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Slow())
if '{stage}' == 'end':
    import atexit
    atexit.register(wait)
from penguin_ros.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    ('stage', 'before', 'code'),
    [
        ('import', 'default_int_handler', -signal.SIGINT),
        ('run', 'default_int_handler', 130),
        ('end', 'default_int_handler', -signal.SIGINT),
        ('import', 'SIG_IGN', 7),  # as nohup wants it
    ],
)
def test_an_interrupt_shows_no_traceback(stage: str, before: str, code: int) -> None:
    program = textwrap.dedent(PROGRAM).format(stage=stage, before=before)
    with subprocess.Popen(
        [sys.executable, '-c', program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == 'now\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == code
        assert process.stderr.read() == ''
