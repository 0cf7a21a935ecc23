# SPDX-License-Identifier: Apache-2.0
"""Prints the tables of these benchmarks in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Prints one line per row, with the keys of the first row as header; numbers with a fraction
    get two digits of it.
    """
    print('| ' + ' | '.join(rows[0]) + ' |\n|' + '---|' * len(rows[0]))
    for row in rows:
        print('| ' + ' | '.join(_cell(value) for value in row.values()) + ' |', flush=True)


def _cell(value: object) -> str:
    return f'{value:.2f}' if isinstance(value, float) else str(value)
