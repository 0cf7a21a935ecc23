# SPDX-License-Identifier: Apache-2.0
"""The checks run in a process that may die, and the report tells of what killed it."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator

import pytest

from penguin_ros.doctor import apart
from penguin_ros.doctor.apart import Progress, watched
from penguin_ros.doctor.finding import Finding, State


@pytest.fixture(autouse=True)
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's process has threads of its own, which these checks do not use."""
    monkeypatch.setattr(apart, '_can_fork', lambda: True)


def die(number: int) -> None:
    """Ends this process by a signal, without pytest's report of it."""
    faulthandler.disable()
    os.kill(os.getpid(), number)


def topics(findings: list[Finding]) -> list[str]:
    return [finding.topic for finding in findings]


def test_findings_come_back_in_their_order() -> None:
    def make(progress: Progress) -> Iterator[Finding]:
        for name in 'abc':
            yield Finding(name, State.OK, str(os.getpid()), 'fix')

    found = watched(make)
    assert topics(found) == ['a', 'b', 'c'] and found[0].text != str(os.getpid())


def test_what_comes_back_is_plain_and_imports_nothing() -> None:
    class Version(str):
        """A text of a library's own kind."""

    def make(progress: Progress) -> Iterator[Finding]:
        yield Finding('torch', State.OK, Version('2.13'), Version('fix'))

    (found,) = watched(make)
    assert type(found.text) is str and type(found.fix) is str and found.text == '2.13'


@pytest.mark.parametrize('killers', [{'b'}, {'a', 'c'}, {'a', 'b', 'c'}])
@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGILL, signal.SIGKILL])
def test_what_kills_the_process_is_a_fault_and_the_others_are_told(
    killers: set[str], number: int
) -> None:
    def make(progress: Progress) -> Iterator[Finding]:
        for name in 'abc':
            if name in progress.deaths:
                continue
            progress.begin(name)
            if name in killers:
                die(number)
            yield Finding(name, State.OK, 'fine')

    states = {finding.topic: finding.state for finding in watched(make)}
    assert states == {name: State.FAULT if name in killers else State.OK for name in 'abc'}


def test_an_exception_is_raised_here() -> None:
    def make(progress: Progress) -> Iterator[Finding]:
        yield Finding('a', State.OK, '')
        raise KeyError('a mistake of ours')

    with pytest.raises(KeyError, match='a mistake of ours'):
        watched(make)


def test_an_endless_row_of_deaths_ends() -> None:
    def make(progress: Progress) -> Iterator[Finding]:
        progress.begin(f'number {len(progress.deaths)}')
        die(signal.SIGSEGV)
        yield Finding('never', State.OK, '')

    assert len(watched(make)) == apart.MOST_DEATHS
