# SPDX-License-Identifier: Apache-2.0
"""The tables and the JSON of `penguin bench rules`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from penguin_ros.benchmark.rules.tasks import RulesResult
from penguin_ros.console import table_console

COLUMNS = (
    'rules',
    'new clip, s',
    '× one',
    'clip read before, s',
    '× one',
    'one after another, s',
    'together / in turn',
    'tokens/s',
    'of prefill',
)


def print_results(results: Sequence[RulesResult], machine: str) -> None:
    """Prints one table per model on stdout."""
    from rich.table import Table

    console = table_console()
    for result in results:
        task = result.task
        table = Table(box=None, pad_edge=False)
        for column in COLUMNS:
            table.add_column(column, justify='right')
        for count in task.counts:
            table.add_row(*_row(result, count))
        first = result.rounds[0]
        lines = (
            f'\n{result.model}: {result.way}',
            f'{result.prefix} positions are shared, {task.suffix} are of each rule; encode '
            f'{first.encode:.2f} s, prefill {result.prefill_rate():.0f} tokens/s',
        )
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
        console.print(table)
        console.print(
            f'logits against each asked alone, at worst: branches {result.difference:.1e}, the '
            f'same tokens decoded one by one {result.rounding:.1e}',
            markup=False,
            soft_wrap=True,
        )
        for line in result.missed():
            console.print(f'not reached: {line}', markup=False, style='red')
    console.print(f'\n{machine}; medians of the rounds.', markup=False, soft_wrap=True)


def _row(result: RulesResult, count: int) -> list[str]:
    one, rate = result.task.counts[0], result.branch_rate(count)
    return [
        str(count),
        f'{result.evaluation(count):.3g}',
        f'{result.evaluation(count) / result.evaluation(one):.2f}',
        f'{result.held(count):.3g}',
        f'{result.held(count) / result.held(one):.2f}',
        f'{result.in_turn(count):.3g}',
        f'{result.held(count) / result.in_turn(count):.2f}',
        f'{rate:.0f}',
        f'{100 * rate / result.prefill_rate():.0f} %',
    ]


def record(results: Sequence[RulesResult], machine: str) -> dict[str, Any]:
    """Everything as plain values, with every round."""
    return {
        'machine': machine,
        'models': [
            {
                **asdict(each),
                'prefill_tokens_per_s': each.prefill_rate(),
                'counts': {
                    count: {
                        'evaluation_s': each.evaluation(count),
                        'held_s': each.held(count),
                        'in_turn_s': each.in_turn(count),
                        'tokens_per_s': each.branch_rate(count),
                    }
                    for count in each.task.counts
                },
                'missed': each.missed(),
            }
            for each in results
        ],
    }
