# SPDX-License-Identifier: Apache-2.0
"""One side of `penguin bench engine`: what it runs, one round of it in a process of its own, and
what came of that.

A side that dies (of lack of memory, in a driver) takes nothing else with it, and the memory that is
counted is its own. Sides take turns, so that two large models are never loaded at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penguin_ros.backends.base.manifest import MANIFEST
from penguin_ros.checkpoint.hub import is_hub_id
from penguin_ros.errors import PenguinError
from penguin_ros.settings import Value

ONNXRUNTIME = 'onnxruntime'
LAST_WORDS = 300
"""Characters of what a process wrote at its end, when it left no result."""


@dataclass(frozen=True)
class Target:
    """`source`: a bundle or a checkpoint; `graphs_in` 'onnxruntime': the graphs of a TensorRT
    bundle in ONNX Runtime, on the CPU.

    `settings` by dotted name, as far as they are not the default.
    """

    source: str
    graphs_in: str = ''
    settings: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_bundle(self) -> bool:
        """Whether it is to be opened as one: a folder that is no checkpoint is called a bundle that
        is not there.
        """
        path = Path(self.source)
        if path.is_dir():
            return (path / MANIFEST).exists() or not (path / 'config.json').exists()
        return not is_hub_id(self.source) or path.parent.is_dir()

    @property
    def name(self) -> str:
        """For people."""
        name = Path(self.source).name or self.source
        return f'{name} in ONNX Runtime' if self.graphs_in else name


@dataclass(frozen=True)
class Task:
    """One round. `position`: tokens before the first of the `steps` that are decoded there, 0: as
    many as fit up to the default; `max_tokens` of the answer to the stored clip. `is_short`: one
    picture and its answer only. `arrays`: where features and logits are written, ''; not at all.
    `teacher`: such a file of the other side, whose tokens are fed.
    """

    target: Target
    position: int = 0
    steps: int = 32
    max_tokens: int = 32
    is_short: bool = False
    arrays: str = ''
    teacher: str = ''


@dataclass(frozen=True)
class TargetError:
    """Why a side did not run: the name of the error, and its three parts."""

    kind: str
    what: str
    why: str = ''
    fix: str = ''

    @staticmethod
    def of(error: BaseException) -> TargetError:
        """Of an error of ours its parts, of another one its text."""
        if isinstance(error, PenguinError):
            return TargetError(type(error).__name__, error.what, error.why, error.fix)
        return TargetError(type(error).__name__, str(error) or 'no text')


@dataclass(frozen=True)
class Round:
    """What one round gave: `facts` do not change from round to round, `samples` are seconds, bytes
    and bytes per second.

    `tokens` of the answer to the stored input, `text` of it up to its first stop token.
    """

    error: TargetError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, float] = field(default_factory=dict)
    tokens: tuple[int, ...] = ()
    text: str = ''


Runner = Callable[[Task], Round]


def run_here(task: Task) -> Round:
    """In this process; whatever goes wrong is the round's error."""
    from penguin_ros.benchmark.engine.measures import measure

    try:
        return measure(task)
    except Exception as error:
        return Round(error=TargetError.of(error))


def run_apart(task: Task, limit_s: float = 3600.0) -> Round:
    """In a process of its own, which is ended after `limit_s`."""
    plain = process_record(__name__, asdict(task), task.target.name, limit_s)
    if isinstance(plain, TargetError):
        return Round(error=plain)
    error = plain['error']
    return Round(
        TargetError(**error) if error else None,
        plain['facts'],
        plain['samples'],
        tuple(plain['tokens']),
        plain['text'],
    )


def process_record(
    module: str, task: Mapping[str, Any], name: str, limit_s: float
) -> dict[str, Any] | TargetError:
    """The JSON object with `error` that a process of `module`, given `task` as JSON, prints last;
    why there is none.
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
        return _read(done.stdout) or _death(name, done.returncode, words.read())


def _read(text: str) -> dict[str, Any] | None:
    """The last line of what a process printed; None when that is no result."""
    try:
        plain = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return plain if isinstance(plain, dict) and 'error' in plain else None


def _death(name: str, code: int, words: str) -> TargetError:
    """The error of a process that left no result."""
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


def main() -> None:
    """The process of one round: takes a Task as JSON, prints a Round as JSON."""
    plain = json.loads(sys.argv[1])
    print(
        json.dumps(asdict(run_here(Task(**{**plain, 'side': Target(**plain['side'])})))), flush=True
    )


if __name__ == '__main__':
    main()
