# SPDX-License-Identifier: Apache-2.0
"""How long a newcomer waits: seconds from `git clone` to the first true caption on the screen, and
from a second start to it.

Each round clones this repository's HEAD into an empty folder, without any cache of packages or of
models, and runs `./scripts/demo` as a user would. A caption counts once its line says that all its
facts are right. `--installer uv pip` measures both installers in one run and gives their ratio.
Debian packages that the machine has already are not counted.

    python benchmarks/first_caption.py [--rounds 1] [--installer uv pip]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from penguin_ros.benchmark.machine import machine

TRUE_CAPTION = re.compile(r': (\d+) of (\d+) facts right')
STEP_DONE = re.compile(r'^  (?P<title>\S.*): done in (?P<seconds>\d+) s$')
DEADLINE_S = 3600.0


@dataclass
class Start:
    """One run of the demo: seconds until its first true caption, and of each step of the set-up."""

    seconds: float = 0.0
    steps: dict[str, int] = field(default_factory=dict)


def main() -> None:
    """Measures and prints; JSON goes to a file when asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', 1)[0])
    parser.add_argument('--rounds', type=int, default=1, help='fresh clones per installer')
    parser.add_argument('--installer', nargs='+', choices=('uv', 'pip'), default=['uv'])
    parser.add_argument('--json', type=Path, help='write all figures there')
    options = parser.parse_args()
    results: dict[str, list[dict[str, object]]] = {}
    for round_number in range(options.rounds):
        for installer in options.installer:
            print(f'round {round_number + 1}, {installer}', file=sys.stderr)
            results.setdefault(installer, []).append(measured(installer))
    report(results)
    if options.json:
        options.json.write_text(
            json.dumps({'machine': machine(os.cpu_count() or 1), 'results': results}, indent=1)
        )


def measured(installer: str) -> dict[str, object]:
    """Makes one fresh clone, starts the demo twice in it, and removes everything."""
    folder = Path(tempfile.mkdtemp(prefix='penguin_first_caption_'))
    try:
        environment = newcomer(folder, installer)
        begin = time.monotonic()
        clone(folder / 'penguin_ros')
        cloned_s = time.monotonic() - begin
        first = started(folder / 'penguin_ros', environment)
        second = started(folder / 'penguin_ros', environment)
        return {
            'first_s': cloned_s + first.seconds,
            'second_s': second.seconds,
            'steps': first.steps,
            'venv_mb': megabytes(folder / 'penguin_ros' / '.venv'),
            'built_mb': sum(megabytes(folder / 'penguin_ros' / x) for x in ('build', 'install')),
            'cache_mb': megabytes(folder / 'cache'),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def newcomer(folder: Path, installer: str) -> dict[str, str]:
    """Returns this environment without what other runs left: caches, a virtual environment, ROS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('PENGUIN_', 'ROS_', '_ROS', 'AMENT_', 'CMAKE_', 'COLCON_', 'UV_'))
        and name not in ('VIRTUAL_ENV', 'PYTHONPATH', 'LD_LIBRARY_PATH')
    }
    kept['PATH'] = ':'.join(
        part for part in kept['PATH'].split(':') if not (Path(part) / 'penguin').exists()
    )
    cache = str(folder / 'cache')
    return {
        **kept,
        'PENGUIN_INSTALLER': installer,
        'XDG_CACHE_HOME': cache,
        'UV_CACHE_DIR': f'{cache}/uv',
        'PIP_CACHE_DIR': f'{cache}/pip',
    }


def clone(folder: Path) -> None:
    """Clones HEAD of this checkout."""
    subprocess.run(['git', 'clone', '-q', '--no-hardlinks', ROOT, folder], check=True)


def started(checkout: Path, environment: dict[str, str]) -> Start:
    """Runs the demo until its first true caption, and ends it."""
    start, begin = Start(), time.monotonic()
    with subprocess.Popen(
        [checkout / 'scripts' / 'demo', '--seconds', '300'],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        for line in lines_of(process):
            if match := STEP_DONE.match(line):
                start.steps[match['title']] = int(match['seconds'])
            if (match := TRUE_CAPTION.search(line)) and match[1] == match[2] != '0':
                start.seconds = time.monotonic() - begin
                process.terminate()
        timer.cancel()
    if not start.seconds:
        raise SystemExit('the demo ended without a true caption')
    return start


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yields the lines of a process, shown as they come."""
    assert process.stdout is not None
    for line in process.stdout:
        print(f'  {line}', end='', file=sys.stderr, flush=True)
        yield line.rstrip('\n')


def megabytes(path: Path) -> float:
    """Returns what a folder takes on the disk."""
    output = subprocess.run(['du', '-sm', path], capture_output=True, text=True, check=False).stdout
    return float(output.split()[0]) if output else 0.0


def report(results: dict[str, list[dict[str, object]]]) -> None:
    """Prints medians, the steps of the first round, and the ratio of the installers."""
    print(f'{machine(os.cpu_count() or 1)}\n')
    medians = {}
    for installer, rounds in results.items():
        figure = {
            name: statistics.median(float(str(one[name])) for one in rounds)
            for name in rounds[0]
            if name != 'steps'
        }
        medians[installer] = figure['first_s']
        print(f'{installer}, {len(rounds)} round(s), medians')
        print(f'  fresh clone to first true caption  {figure["first_s"]:6.1f} s')
        for title, seconds in dict(rounds[0]['steps']).items():  # type: ignore[call-overload]
            print(f'    {title:<50} {seconds:4d} s')
        print(f'  second start to first true caption {figure["second_s"]:6.1f} s')
        print(
            f'  .venv {figure["venv_mb"]:.0f} MB, build and install {figure["built_mb"]:.0f} MB, '
            f'caches {figure["cache_mb"]:.0f} MB'
        )
    if len(medians) == 2:
        print(f'pip : uv = {medians["pip"] / medians["uv"]:.2f}')


if __name__ == '__main__':
    main()
