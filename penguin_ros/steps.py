# SPDX-License-Identifier: Apache-2.0
"""Long work in bounded pieces: a generator yields between them, so that whoever drives it may pause
or stop. Knows no images.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar('Result')


def run_to_end(steps: Generator[None, None, Result]) -> Result:
    """The result of `steps`, run to the end without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
