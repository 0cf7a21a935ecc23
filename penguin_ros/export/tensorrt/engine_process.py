# SPDX-License-Identifier: Apache-2.0
"""Each engine is built in a process of its own, watched from here.

What CUDA and TensorRT take is given back when a process ends, and only then; and when the kernel
ends one that took too much memory, the one that started it can say so. The child is started as

    python -m penguin_ros.export.tensorrt.engine_process ORDER

with the order as JSON. It prints a line of JSON for each step, and one for how it ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from penguin_ros import errors
from penguin_ros.backends.tensorrt.engine_manifest import EngineManifest
from penguin_ros.board_facts import kilobyte_lines, memory_facts
from penguin_ros.board_memory.memory_plan import shown
from penguin_ros.errors import BuildError, PenguinError
from penguin_ros.export.tensorrt.build import (
    PARTS,
    EngineOptions,
    build_engines,
    finished,
    fitting_machine,
    note_memory,
)
from penguin_ros.export.tensorrt.memory_gate import remedy

if TYPE_CHECKING:
    from penguin_ros.export.tensorrt.builder import ProgressCallback

COMMAND: tuple[str, ...] = (sys.executable, '-m', 'penguin_ros.export.tensorrt.engine_process')
SAMPLE_S = 0.25
OOM_SIGNAL = 9
"""SIGKILL: what the kernel ends a process with when memory runs out."""


@dataclass
class Watched:
    """The highest resident memory of a process, and the least that the machine had meanwhile;
    whether it built anything.
    """

    peak_bytes: int = 0
    least_available_bytes: int = 0
    has_built: bool = False

    def note(self, process: int) -> None:
        """Looks once."""
        self.peak_bytes = max(
            self.peak_bytes, kilobyte_lines(Path(f'/proc/{process}/status')).get('VmHWM', 0)
        )
        available = memory_facts().available
        self.least_available_bytes = min(self.least_available_bytes or available, available)


def build_engines_apart(
    folder: Path,
    options: EngineOptions | None = None,
    progress: ProgressCallback = lambda stage, done: None,
) -> EngineManifest:
    """Does what `build_engines` does, each part in a process of its own. Raises the same, and
    BuildError where a process was ended.
    """
    order = {'folder': str(folder), 'options': asdict(options or EngineOptions())}
    for part in PARTS:
        _run({**order, 'part': part}, progress)
    return finished(folder)


def check_machine_apart(made_by: str = '') -> None:
    """Does what `fitting_machine` does, and leaves no trace of CUDA in this process."""
    _run({'made_by': made_by}, lambda stage, done: None)


def _run(order: Mapping[str, Any], progress: ProgressCallback) -> None:
    child = subprocess.Popen([*COMMAND, json.dumps(order)], stdout=subprocess.PIPE, text=True)
    watched, is_over = Watched(), threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_S):
            watched.note(child.pid)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        assert child.stdout is not None
        error = _follow(child.stdout, watched, progress)
        code = child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    finally:
        is_over.set()
        watcher.join()
    if error is not None:
        raise error
    if code:
        raise _ended(order, code, watched)
    if watched.has_built:
        note_memory(
            Path(order['folder']),
            str(order['part']),
            watched.peak_bytes,
            watched.least_available_bytes,
        )


def _follow(lines: IO[str], watched: Watched, progress: ProgressCallback) -> PenguinError | None:
    """Shows what the child does until it ends; returns its error."""
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:  # something that a library printed
            continue
        if 'stage' in said:
            watched.has_built = True
            progress(said['stage'], said['fraction'])
        elif 'error' in said:
            kind = getattr(errors, said['error'], BuildError)
            error: PenguinError = kind(*said['words'])
            return error
    return None


def _ended(order: Mapping[str, Any], code: int, watched: Watched) -> BuildError:
    part = order.get('part', 'test')
    numbers = (
        f'its process held up to {shown(watched.peak_bytes)}, and '
        f'{shown(watched.least_available_bytes)} were available at least'
    )
    if code == -OOM_SIGNAL:
        return BuildError(
            f'building the engine of the {part} was ended by the system: memory ran out',
            numbers,
            remedy(),
        )
    return BuildError(
        f'building the engine of the {part} ended with code {code}',
        numbers,
        'What it said stands above; the kernel may have said more: dmesg | tail',
    )


def main() -> int:
    """The program of a child."""
    order = json.loads(sys.argv[1])
    try:
        if 'part' in order:
            _build(order)
        else:
            with fitting_machine(order['made_by']):
                pass
    except PenguinError as error:
        words = [error.what, error.why, error.fix]
        _say({'error': type(error).__name__, 'words': words})
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _build(order: Mapping[str, Any]) -> None:
    options = order['options']
    forms = {part: tuple(names) for part, names in options.pop('forms').items()}
    build_engines(
        Path(order['folder']),
        replace(EngineOptions(**options), forms=forms),
        lambda stage, fraction: _say({'stage': stage, 'fraction': fraction}),
        (order['part'],),
    )


def _say(words: Mapping[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == '__main__':
    sys.exit(main())
