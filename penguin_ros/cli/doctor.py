# SPDX-License-Identifier: Apache-2.0
"""`penguin doctor`: checks this machine and what runs on it, and names the command that provides
what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Iterator

from penguin_ros.cli import exit_codes
from penguin_ros.doctor import machine_checks
from penguin_ros.doctor.finding import Finding, State

EPILOG = """examples:
  penguin doctor
  penguin doctor --checkpoint ./Penguin-VL-2B
  penguin doctor --bundle engines/Penguin-VL-2B
  penguin doctor --seconds 10        # listens longer to the cameras that are on the air

exit codes: 0 everything that is needed works, 1 a fault was found"""

MARKS = {State.OK: '[green]ok[/]', State.NOTE: '[yellow]note[/]', State.FAULT: '[red]fault[/]'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--checkpoint', default='', metavar='DIR', help='check this checkpoint too')
    parser.add_argument(
        '--bundle',
        default='',
        metavar='DIR',
        help='check this bundle too, and what it answers to an image',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=3.0,
        metavar='S',
        help='listen to image topics for S seconds; 0: not at all (default: 3)',
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')


def run(arguments: argparse.Namespace) -> int:
    """Prints every finding; exit code 1 when one is a fault."""
    findings = list(_findings(arguments))
    if arguments.json:
        plain = [{**vars(finding), 'state': finding.state.value} for finding in findings]
        print(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        _print_table(findings)
    has_fault = any(finding.state is State.FAULT for finding in findings)
    return exit_codes.FAILED if has_fault else exit_codes.DONE


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield from machine_checks.environment()
    yield from machine_checks.ros()
    yield from machine_checks.backends()
    yield from machine_checks.transport()
    if arguments.checkpoint:
        yield from machine_checks.checkpoint(arguments.checkpoint)
    if arguments.bundle:
        yield from machine_checks.bundle(arguments.bundle)
        from penguin_ros.doctor.engine_checks import engine

        yield from engine(arguments.bundle, arguments.checkpoint)
    if arguments.seconds > 0 and importlib.util.find_spec('rclpy') is not None:
        from penguin_ros.doctor.camera_checks import live

        yield from live(arguments.seconds)


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ('topic', 'state'):
        table.add_column(column, no_wrap=True)
    table.add_column('text', overflow='fold')
    for finding in findings:
        fix = f'\n→ {escape(finding.fix)}' if finding.fix else ''
        table.add_row(escape(finding.topic), MARKS[finding.state], escape(finding.text) + fix)
    Console(soft_wrap=False).print(table)
