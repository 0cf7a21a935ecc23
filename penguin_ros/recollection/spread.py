# SPDX-License-Identifier: Apache-2.0
"""Chooses some of many, spread evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar('T')


def spread(items: Sequence[T], count: int) -> list[T]:
    """Returns at most `count` of the items in their order, the first and the last among them; the
    last alone where one is wanted.
    """
    if count <= 0:
        return []
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[-1]]
    steps = (len(items) - 1) / (count - 1)
    return [items[round(index * steps)] for index in range(count)]
