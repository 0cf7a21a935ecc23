# SPDX-License-Identifier: Apache-2.0
"""Work in steps: a generator that yields between bounded pieces, so that its driver can pause, time
or stop it there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Result = TypeVar('Result')
Step = TypeVar('Step')


def run_to_end(steps: Generator[object, None, Result]) -> Result:
    """Runs `steps` without a pause and returns their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def driven(
    steps: Generator[Step, None, Result],
    clock: Callable[[], int],
    add_duration: Callable[[int], object],
) -> Generator[Step, None, Result]:
    """Yields what `steps` yield and returns their result. `add_duration` gets the time that each
    step took, the last one and one that fails included; what passes between steps does not count.

    Closes `steps` when it ends, also when it is closed or an error is thrown into it.
    """
    with closing(steps):
        while True:
            start = clock()
            try:
                step = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            finally:
                add_duration(clock() - start)
            yield step
