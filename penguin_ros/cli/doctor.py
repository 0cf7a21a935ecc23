# SPDX-License-Identifier: Apache-2.0
"""`penguin doctor`: checks this machine and what runs on it, and names the command that provides
what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import print_line
from penguin_ros.doctor.apart import watched
from penguin_ros.doctor.checks import Wanted, findings_of
from penguin_ros.doctor.finding import Finding, State

EPILOG = """examples:
  penguin doctor
  penguin doctor --checkpoint ./Penguin-VL-2B
  penguin doctor --bundle engines/Penguin-VL-2B
  penguin doctor --seconds 10        # listens longer to the cameras that are on the air

exit codes: 0 everything that is needed works, 1 a fault was found"""

COLOURS = {State.OK: 'green', State.NOTE: 'yellow', State.FAULT: 'red'}


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
        type=seconds,
        default=3.0,
        metavar='S',
        help='listen to image topics for S seconds; 0: not at all (default: 3)',
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')


def run(arguments: argparse.Namespace) -> int:
    """Prints every finding; exit code 1 when one is a fault."""
    wanted = Wanted(arguments.checkpoint, arguments.bundle, arguments.seconds)
    findings = watched(lambda progress: findings_of(wanted, progress))
    if arguments.json:
        plain = [{**vars(finding), 'state': finding.state.value} for finding in findings]
        print(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        _print_report(findings)
    has_fault = any(finding.state is State.FAULT for finding in findings)
    return exit_codes.FAILED if has_fault else exit_codes.DONE


def _print_report(findings: list[Finding]) -> None:
    """Prints a line for each finding, and one for what to type, which a terminal may wrap but
    nothing else breaks, so that it can be copied.
    """
    width = max(len(finding.topic) for finding in findings)
    show = _coloured()
    for finding in findings:
        show(f'{finding.topic:{width}}  ', finding.state, finding.text)
        if finding.fix:
            print_line(f'  → {finding.fix}')


def _coloured() -> Callable[[str, State, str], None]:
    """What prints a finding: with colours on a terminal, and without where the library for it is
    not to be had.
    """
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return lambda topic, state, text: print_line(f'{topic}{state.value:5}  {text}')
    console = Console(highlight=False)

    def show(topic: str, state: State, text: str) -> None:
        line = Text.assemble(topic, (f'{state.value:5}', COLOURS[state]), f'  {text}')
        console.print(line, soft_wrap=True)

    return show
