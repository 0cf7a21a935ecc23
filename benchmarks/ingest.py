# SPDX-License-Identifier: Apache-2.0
"""What receiving cameras costs: 1080p rgb8 at 30 Hz sampled at 2 Hz, one camera and four, in real
processes.

In the same run, a naive rclpy node, which converts every frame in its callback, is compared with
the camera inputs of penguin_ros, and with the two measures that make the difference, each by
itself: the gate (frames stay in the middleware until one is wanted) and the allocator setting
(freed images are kept, not returned to the system).

The processor time of a node without the allocator setting depends on where its heap happens to end
when it starts: glibc returns each freed image to the system, or none of them. So it is given as the
mean over the rounds, each with new processes, with the lowest and the highest beside it.

    python benchmarks/ingest.py --seconds 10
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from penguin_ros.benchmark.machine import TICKS_PER_S, machine, process_usage

KEEP = {'MALLOC_MMAP_THRESHOLD_': str(32 * 2**20), 'MALLOC_TRIM_THRESHOLD_': str(256 * 2**20)}
MODES: dict[str, tuple[str, dict[str, str]]] = {
    'naive': ('ingest_naive.py', {}),
    'allocator': ('ingest_naive.py', KEEP),
    'gate': ('ingest_penguin.py', {'PENGUIN_MALLOC': 'off'}),
    'penguin_ros': ('ingest_penguin.py', {}),
}
"""The program of each receiver, and what its environment adds. `allocator` is the naive node with
our allocator setting alone, `gate` our node without it.
"""
COLUMNS = (
    ('cameras', 'cameras', 7, ''),
    ('receiver', 'mode', 11, ''),
    ('CPU %', 'cpu_percent', 6, '.1f'),
    ('lowest', 'cpu_low', 6, '.1f'),
    ('highest', 'cpu_high', 7, '.1f'),
    ('taken Hz', 'messages_hz', 8, '.1f'),
    ('samples', 'samples', 7, '.0f'),
    ('lost', 'lost_samples', 4, '.0f'),
    ('age p50', 'age_p50', 7, '.1f'),
    ('p95', 'age_p95', 6, '.1f'),
    ('max ms', 'age_max', 6, '.0f'),
    ('faults/s', 'faults_per_second', 8, '.0f'),
    ('RSS MB', 'rss_mb', 6, '.0f'),
    ('others CPU %', 'others_percent', 12, '.0f'),
)
"""The title, key, width and format of each column."""
CAMERAS_FIRST_SECONDS = 3.0
"""The cameras run for so long before a receiver starts: on a robot they run already."""
CPU_LIMIT = 0.20
BUSY_PERCENT = 25.0


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=10.0,
        help='length of one measurement (default: %(default)s)',
    )
    parser.add_argument(
        '--rounds', type=int, default=5, help='measurements of each kind (default: %(default)s)'
    )
    parser.add_argument(
        '--cameras', type=int, nargs='+', default=[1, 4], help='numbers of cameras (default: 1 4)'
    )
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=MODES,
        default=list(MODES),
        help='what is measured (default: all)',
    )
    parser.add_argument(
        '--hz', type=float, default=30.0, help='rate of the cameras (default: %(default)s)'
    )
    parser.add_argument(
        '--sample-hz', type=float, default=2.0, help='rate of the samples (default: %(default)s)'
    )
    parser.add_argument(
        '--json',
        type=Path,
        metavar='FILE',
        help='write every measurement there; - writes it to the terminal',
    )
    parser.add_argument(
        '--check', action='store_true', help='exit with code 1 when a requirement is not met'
    )
    return parser.parse_args(arguments)


def process(
    program: str, options: dict[str, Any], environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Starts a program that lies beside this one."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(program)), json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def measure(options: argparse.Namespace, mode: str, cameras: int) -> dict[str, Any]:
    """One measurement, with processes of its own on a domain of its own."""
    foreign = ('PENGUIN_', 'MALLOC_', 'FASTRTPS_', 'FASTDDS_')
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(foreign)
    }
    environment['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    program, additions = MODES[mode]
    # The cameras are ended when the measurement is over; this is for the case that nobody is left
    # to do so.
    sources = [
        process(
            'ingest_camera.py',
            {'number': number, 'hz': options.hz, 'seconds': options.seconds + 90},
            environment,
        )
        for number in range(cameras)
    ]
    time.sleep(CAMERAS_FIRST_SECONDS)
    target = process(
        program,
        {'cameras': cameras, 'seconds': options.seconds, 'sample_hz': options.sample_hz},
        {**environment, **additions},
    )
    watchdog = threading.Timer(options.seconds + 90, target.kill)
    watchdog.start()
    try:
        return {'mode': mode, 'cameras': cameras, **received(target, sources)}
    finally:
        watchdog.cancel()
        for each in sources:
            each.terminate()  # killed, they would leave their shared memory behind
        for each in (target, *sources):
            wait_for(each)


def received(target: subprocess.Popen[str], sources: list[subprocess.Popen[str]]) -> dict[str, Any]:
    """What the receiver reports, and how busy other programs kept the machine in that time."""
    assert target.stdout is not None
    first = target.stdout.readline()
    start = time.monotonic()
    busy = machine_seconds()
    sent = cpu_seconds(sources)
    line = target.stdout.readline() if first.startswith('measuring') else first
    if not line:
        return {'error': 'the receiver ended, or hung and was ended, without a word'}
    result: dict[str, Any] = json.loads(line)
    elapsed = time.monotonic() - start
    own = cpu_seconds(sources) - sent + result.get('cpu_percent', 0.0) / 100 * elapsed
    return {**result, 'others_percent': max(0.0, 100 * (machine_seconds() - busy - own) / elapsed)}


def wait_for(running: subprocess.Popen[str]) -> None:
    """Waits for a process that is about to end, and kills it when it does not."""
    try:
        running.wait(10)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def cpu_seconds(running: list[subprocess.Popen[str]]) -> float:
    """The processor time so far of processes that have not been waited for."""
    return sum(process_usage(each.pid)[0] for each in running)


def machine_seconds() -> float:
    """The processor time of everything on this machine so far, without idle time."""
    fields = [int(field) for field in Path('/proc/stat').read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S


def surroundings() -> dict[str, str]:
    """What the figures were taken on."""
    import rclpy

    return {
        'processor': machine(os.cpu_count() or 1),
        'kernel': platform.release(),
        'python': platform.python_version(),
        'middleware': rclpy.get_rmw_implementation_identifier(),
        'load': ' '.join(f'{load:.2f}' for load in os.getloadavg()),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Sums up all rounds of one kind: processor time as a mean with its lowest and highest, the
    other facts as medians, samples added up, the ages of all samples together.
    """
    good = [run for run in runs if 'error' not in run]
    if not good:
        return {}
    median = {
        key: statistics.median(run[key] for run in good)
        for key in ('messages_hz', 'faults_per_second', 'rss_mb', 'others_percent')
    }
    processor = [run['cpu_percent'] for run in good]
    ages = sorted(age for run in good for age in run['ages_ms'])
    return {
        **median,
        'cpu_percent': statistics.mean(processor),
        'cpu_low': min(processor),
        'cpu_high': max(processor),
        'samples': sum(run['samples'] for run in good),
        'lost_samples': sum(run['lost_samples'] for run in good),
        'lost_in_transport': sum(run.get('lost_in_transport', 0) for run in good),
        'failed_rounds': len(runs) - len(good),
        'sample_hz': min(run['samples'] / run['seconds'] / run['cameras'] for run in good),
        'age_p50': ages[len(ages) // 2],
        'age_p95': ages[int(len(ages) * 0.95)],
        'age_max': ages[-1],
    }


def requirements(
    table: dict[tuple[int, str], dict[str, float]], sample_hz: float
) -> list[tuple[str, bool]]:
    """What must hold, and whether it does, where it was measured."""
    checks = []
    for (cameras, mode), row in table.items():
        if mode != 'penguin_ros':
            continue
        naive = table.get((cameras, 'naive'), {})
        if naive and row:
            ratio = row['cpu_percent'] / naive['cpu_percent']
            limit = f', at most {CPU_LIMIT:.0%} required' if cameras == 1 else ''
            checks.append(
                (
                    f"{cameras} camera(s): {ratio:.1%} of the naive node's processor time{limit}",
                    cameras > 1 or ratio <= CPU_LIMIT,
                )
            )
        is_whole = (
            bool(row)
            and row['lost_samples'] == 0
            and not row['failed_rounds']
            and row['sample_hz'] > 0.95 * sample_hz
        )
        checks.append(
            (
                f'{cameras} camera(s): {row.get("lost_samples", "all")} sampled frames lost, '
                f'each camera at {row.get("sample_hz", 0):.2f} Hz',
                is_whole,
            )
        )
    return checks


def show(table: dict[tuple[int, str], dict[str, float]], options: argparse.Namespace) -> bool:
    """Prints the table and the requirements; returns whether all of them hold."""
    print(
        f'\n{options.rounds} rounds of {options.seconds:g} s, 1920x1080 rgb8 at {options.hz:g} Hz '
        f'per camera, sampled at {options.sample_hz:g} Hz\n'
    )
    print(' '.join(f'{title:>{width}}' for title, _, width, _ in COLUMNS))
    for (cameras, mode), row in table.items():
        cells = {'cameras': cameras, 'mode': mode, **row}
        print(
            ' '.join(
                f'{cells[key]:>{width}{style}}' if key in cells else f'{"-":>{width}}'
                for _, key, width, style in COLUMNS
            )
        )
    checks = requirements(table, options.sample_hz)
    print()
    for text, is_met in checks:
        print(f'{"met    " if is_met else "NOT MET"} {text}')
    if any(row and row['others_percent'] > BUSY_PERCENT for row in table.values()):
        print(
            'Other programs kept this machine busy in that time: take the figures again when it is '
            'idle.'
        )
    return all(is_met for _, is_met in checks)


def main() -> int:
    """Measures every kind in every round; the order is rotated from round to round."""
    options = parsed()
    facts = surroundings()
    print('\n'.join(f'{name}: {value}' for name, value in facts.items()))
    kinds = [(cameras, mode) for cameras in options.cameras for mode in options.modes]
    runs: list[dict[str, Any]] = []
    for round_number in range(options.rounds):
        turn = round_number % len(kinds)
        for cameras, mode in kinds[turn:] + kinds[:turn]:
            runs.append({'round': round_number, **measure(options, mode, cameras)})
            print(
                f'round {round_number + 1}/{options.rounds}: {cameras} camera(s), {mode}: '
                + (runs[-1].get('error') or f'{runs[-1]["cpu_percent"]:.1f} % CPU'),
                file=sys.stderr,
            )
    table = {
        kind: summary([run for run in runs if (run['cameras'], run['mode']) == kind])
        for kind in kinds
    }
    is_met = show(table, options)
    if options.json:
        text = json.dumps(
            {
                'machine': facts,
                'options': {**vars(options), 'json': str(options.json)},
                'runs': runs,
            },
            indent=1,
        )
        print(text) if str(options.json) == '-' else options.json.write_text(text)
    return 1 if options.check and not is_met else 0


if __name__ == '__main__':
    sys.exit(main())
