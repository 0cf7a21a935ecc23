# SPDX-License-Identifier: Apache-2.0
"""Parametrisations of which a sample runs with the fast tests and the rest with the slow ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def sampled(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """The values, of which those that are not in `fast` are marked slow; a tuple is several
    arguments.
    """
    slow = pytest.mark.slow
    return [
        value
        if value in fast
        else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=slow)
        for value in values
    ]
