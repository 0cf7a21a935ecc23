# SPDX-License-Identifier: Apache-2.0
"""The checks in their order, each guarded, so that one that fails costs no other: what `penguin
doctor` and `ros2 doctor` show.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penguin_ros.doctor import (
    card_checks,
    cuda_checks,
    library_checks,
    machine_checks,
    memory_checks,
)
from penguin_ros.doctor.apart import Progress
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError, system_reason
from penguin_ros.libraries import library_error


@dataclass(frozen=True)
class Wanted:
    """What is checked besides the machine: a checkpoint and a bundle by their folders, '' for none,
    and image topics for `seconds`.
    """

    checkpoint: str = ''
    bundle: str = ''
    seconds: float = 0.0


def findings_of(wanted: Wanted, progress: Progress) -> Iterator[Finding]:
    """Yields what every check finds, in the order of the report; see `watched` for `progress`."""
    for name, make in _checks(wanted, progress):
        if name not in progress.deaths:
            progress.begin(name)
            yield from _guarded(name, make)


def _checks(
    wanted: Wanted, progress: Progress
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
    if wanted.checkpoint:
        yield 'checkpoint', lambda: machine_checks.checkpoint(wanted.checkpoint)
    if wanted.bundle:
        yield 'bundle', lambda: machine_checks.bundle(wanted.bundle)
        yield 'bundle memory', lambda: memory_checks.bundle_memory(wanted.bundle)
        yield 'engine', lambda: _engine(wanted.bundle, wanted.checkpoint)
    if wanted.seconds > 0 and has_ros:
        yield 'cameras', lambda: _live(wanted.seconds)


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
