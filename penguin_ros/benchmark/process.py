# SPDX-License-Identifier: Apache-2.0
"""Runs one task of a benchmark in a process of its own.

A target that dies (because memory ran out, or in a driver) then takes nothing else with it, and the
memory that is counted is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from penguin_ros.benchmark.tasks import TargetError

LAST_WORDS = 300
"""Characters shown of what a process wrote at its end when it left no result."""


def process_result(
    module: str, task: Mapping[str, Any], name: str, limit_s: float
) -> dict[str, Any] | TargetError:
    """Runs `module` with `task` as JSON and ends it after `limit_s`.

    Returns the JSON object with the key `error` that the process printed last, or the reason why
    there is none. `name` is what that reason calls the target.
    """
    with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as words:
        command = [sys.executable, '-m', module, json.dumps(task)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return TargetError(
                'TimeoutExpired',
                f'{name} was stopped',
                f'it took more than {limit_s:.0f} s',
                'Ask for fewer tokens, or take a smaller model',
            )
        words.seek(0)
        return _last_object(done.stdout) or _death(name, done.returncode, words.read())


def _last_object(text: str) -> dict[str, Any] | None:
    """Reads the last line that a process printed; None when it is no result."""
    try:
        plain = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return plain if isinstance(plain, dict) and 'error' in plain else None


def _death(name: str, code: int, words: str) -> TargetError:
    """Describes the end of a process that left no result."""
    why = f'signal {-code} ended it' if code < 0 else f'exit code {code}'
    fix = (
        'Most often memory ran out: see dmesg, close other programs, or take a smaller model'
        if code == -9
        else ''
    )
    return TargetError(
        'ProcessEnded',
        f'the process of {name} ended without a result',
        f'{why}; {words.strip()[-LAST_WORDS:]}'.rstrip('; '),
        fix,
    )
