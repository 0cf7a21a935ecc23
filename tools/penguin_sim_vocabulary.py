# SPDX-License-Identifier: Apache-2.0
"""All words of captions, questions and answers in the simulated world, for training a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penguin_ros.simulation import words
from penguin_ros.simulation.scene import COLOURS, SHAPES


def phrases() -> tuple[str, ...]:
    """Returns every phrase of the tables, with its {slots}."""
    tables = [value for name, value in vars(words).items() if name.isupper()]
    return tuple(
        dict.fromkeys(
            text for table in (*tables, tuple(COLOURS), SHAPES) for text in _texts(table) if text
        )
    )


def vocabulary() -> tuple[str, ...]:
    """Returns every word, sorted; those that may begin a sentence are there with a capital too."""
    found = {
        word
        for phrase in phrases()
        for word in re.findall('[A-Za-z]+', re.sub(r'\{\w+\}', ' ', phrase))
    }
    beginning = {word.capitalize() for word in (*COLOURS, *words.NUMBERS, *words.SIDES, 'a', 'the')}
    return tuple(sorted(found | beginning | set(COLOURS) | set(SHAPES) | {'a', 'the', 'and'}))


def _texts(table: Any) -> Iterator[str]:
    if isinstance(table, str):
        yield table
    elif isinstance(table, dict):
        for value in table.values():
            yield from _texts(value)
    elif isinstance(table, tuple):
        for value in table:
            yield from _texts(value)
