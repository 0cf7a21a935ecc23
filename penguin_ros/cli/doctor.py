# SPDX-License-Identifier: Apache-2.0
"""`penguin doctor`: checks this machine and what runs on it, and names the command that provides
what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterator

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import print_line
from penguin_ros.doctor import (
    card_checks,
    cuda_checks,
    library_checks,
    machine_checks,
    memory_checks,
)
from penguin_ros.doctor.apart import Progress, watched
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError, system_reason
from penguin_ros.libraries import library_error

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
    findings = watched(lambda progress: _findings(arguments, progress))
    if arguments.json:
        plain = [{**vars(finding), 'state': finding.state.value} for finding in findings]
        print(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        _print_report(findings)
    has_fault = any(finding.state is State.FAULT for finding in findings)
    return exit_codes.FAILED if has_fault else exit_codes.DONE


def _findings(arguments: argparse.Namespace, progress: Progress) -> Iterator[Finding]:
    for name, make in _checks(arguments, progress):
        if name not in progress.deaths:
            progress.begin(name)
            yield from _guarded(name, make)


def _checks(
    arguments: argparse.Namespace, progress: Progress
) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    """Yields what is checked, in the order of the report; what was found decides on the rest."""
    yield 'libraries', lambda: library_checks.environment(progress)
    yield 'backends', lambda: library_checks.backends(progress)
    yield 'card', card_checks.card
    yield 'cuda', cuda_checks.cuda
    yield 'board', _board
    yield 'memory', memory_checks.memory
    yield 'ros', machine_checks.ros
    has_ros = importlib.util.find_spec('rclpy') is not None
    if has_ros:
        yield 'transport', machine_checks.transport
    if arguments.checkpoint:
        yield 'checkpoint', lambda: machine_checks.checkpoint(arguments.checkpoint)
    if arguments.bundle:
        yield 'bundle', lambda: machine_checks.bundle(arguments.bundle)
        yield 'bundle memory', lambda: memory_checks.bundle_memory(arguments.bundle)
        yield 'engine', lambda: _engine(arguments.bundle, arguments.checkpoint)
    if arguments.seconds > 0 and has_ros:
        yield 'cameras', lambda: _live(arguments.seconds)


def _board() -> Iterator[Finding]:
    from penguin_ros.doctor.board_checks import board

    yield from board()


def _engine(bundle: str, checkpoint: str) -> Iterator[Finding]:
    from penguin_ros.doctor.engine_checks import engine

    yield from engine(bundle, checkpoint)


def _live(seconds: float) -> Iterator[Finding]:
    from penguin_ros.doctor.camera_checks import live

    yield from live(seconds)


def _guarded(topic: str, make: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yields the findings of a check; where it fails, the rest of the report still appears."""
    try:
        yield from make()
    except ImportError as error:
        unusable = library_error(error)
        text = f'not checked: {unusable.what if unusable else error}'
        yield Finding(topic, State.FAULT, text, unusable.fix if unusable else '')
    except PenguinError as error:
        text = f'not checked: {error.what}: {error.why}'.rstrip(': ')
        yield Finding(topic, State.FAULT, text, error.fix)
    except OSError as error:
        why, fix = system_reason(error)
        yield Finding(topic, State.FAULT, f'not checked: {why}', fix)
    except Exception as error:  # what is broken may raise anything, and is to be told
        line = next(iter(str(error).splitlines()), '')
        yield Finding(topic, State.FAULT, f'not checked: {type(error).__name__}: {line}')


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
