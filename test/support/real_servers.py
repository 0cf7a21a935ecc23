# SPDX-License-Identifier: Apache-2.0
"""Servers that nobody here wrote, each in a process of its own, and what any of them is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.asked_servers import Asker, clip_frames
from support.stand_in_server import waited

from penguin_ros.request import StopReason

SUPPORT = Path(__file__).resolve().parent
START_SECONDS = 240.0
PATIENT = {'first_s': 60.0, 'deadline_s': 90.0}


def write_model(script: str, folder: Path, python: str = sys.executable) -> None:
    """Has a script of this folder write a model."""
    command = [python, str(SUPPORT / script), str(folder)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, 'PYTHONPATH': ''})


@contextmanager
def server_process(
    command: Sequence[str],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
    path: str = '/health',
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that says at `path` that it is well; it is killed at the end, with the processes
    that it began.
    """
    with log.open('wb') as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, 'HF_HUB_OFFLINE': '1', **(environment or {})},
            start_new_session=True,
        )
    try:
        waited(lambda: _is_well(started, f'http://127.0.0.1:{port}{path}', log), start_seconds)
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(30)


def _is_well(started: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert started.poll() is None, log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def check_answers(asker: Any, url: str, dialect: str = 'images') -> None:
    """A clip is answered, its pictures count, and so do tokens."""
    engines: Asker = asker(url, idle_timeout=60.0)
    answer = engines.answer(max_tokens=12, **PATIENT)
    assert answer.error is None and answer.text
    assert answer.answerer is not None and answer.answerer.dialect == dialect
    assert answer.stop_reason in (StopReason.MAX_TOKENS, StopReason.STOP_TOKEN)
    assert 0 < answer.stats.generated_tokens <= 12 and answer.stats.prompt_tokens > 0
    same = engines.answer(max_tokens=12, **PATIENT)
    assert same.text == answer.text, 'greedy'
    other = engines.answer(max_tokens=12, frames=clip_frames(shade=100), **PATIENT)
    assert other.text != answer.text, 'it looks at the pictures'
    longer = engines.answer(max_tokens=12, frames=clip_frames(8), **PATIENT)
    assert longer.stats.prompt_tokens > answer.stats.prompt_tokens
    for facts in ({'is_clip': False}, {'frames': ()}):
        said = engines.answer(max_tokens=5, **facts, **PATIENT)
        assert said.error is None and said.stats.prompt_tokens > 0


def check_cancelling(asker: Any, url: str) -> None:
    """A question that is given up makes room for the next."""
    engines: Asker = asker(url, idle_timeout=60.0)
    long = engines.ask(max_tokens=3000, **PATIENT)
    waited(lambda: long.pieces or long.answers, 60.0)
    long.call.cancel()
    after = engines.ask(max_tokens=3, **PATIENT)
    assert after.wait().error is None
    assert not long.answers, 'it was given up before its end'
