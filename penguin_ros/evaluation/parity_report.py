# SPDX-License-Identifier: Apache-2.0
"""What `penguin parity` found: a table for people and a record for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from penguin_ros.console import table_console
from penguin_ros.evaluation.stage_results import ParityRun, StageResult, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {
    Verdict.OK: '[green]OK[/]',
    Verdict.FAIL: '[bold red]FAIL[/]',
    Verdict.NOT_GIVEN: '[dim]not given[/]',
    Verdict.NOT_REACHED: '[red]not reached[/]',
    Verdict.REPORTED: '[cyan]reported[/]',
}


def print_report(run: ParityRun) -> None:
    """Prints a table of every stage of every case, and a summary, on stdout."""
    console = table_console()
    console.print(_table(run))
    _print_summary(console, run)


def report_record(run: ParityRun) -> dict[str, Any]:
    """Everything as plain values. Errors that are NaN or infinite become text, since JSON has no
    such numbers.
    """
    return {
        'is_passed': run.is_passed,
        'backend': asdict(run.description),
        'tolerance': asdict(run.tolerance),
        'cases': {name: [_plain(stage) for stage in stages] for name, stages in run.cases.items()},
    }


def _table(run: ParityRun) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ('case', 'stage'):
        table.add_column(column, no_wrap=True)
    for column in ('error', 'tolerance'):
        table.add_column(column, justify='right', no_wrap=True)
    table.add_column('result', no_wrap=True)
    table.add_column('note', overflow='fold')
    for name, stages in run.cases.items():
        for index, stage in enumerate(stages):
            table.add_row(
                escape(name) if index == 0 else '',
                stage.stage,
                _number(stage.error),
                _number(stage.tolerance),
                STYLES[stage.verdict],
                escape(stage.note),
                end_section=index + 1 == len(stages),
            )
    return table


def _print_summary(console: Console, run: ParityRun) -> None:
    from rich.markup import escape

    verdicts = [stage.verdict for stages in run.cases.values() for stage in stages]
    good, absent, reported = (
        verdicts.count(verdict) for verdict in (Verdict.OK, Verdict.NOT_GIVEN, Verdict.REPORTED)
    )
    judged = len(verdicts) - absent - reported
    opened = run.description
    console.print()
    console.print(
        f'{escape(opened.model_name)} on {opened.name}, {opened.device}, {opened.precision}: '
        f'{len(run.cases)} cases, {good} of {judged} stages within tolerance, '
        f'{reported} reported, {absent} not given. '
        f'Tokens are compared up to the first margin under {run.tolerance.margin:g}.',
        soft_wrap=True,
    )
    console.print('[green]OK[/]' if run.is_passed else '[bold red]FAIL[/]')


def _number(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:g}' if float(value).is_integer() else f'{value:.2g}'


def _plain(stage: StageResult) -> dict[str, Any]:
    error = stage.error if stage.error is None or math.isfinite(stage.error) else str(stage.error)
    return {**asdict(stage), 'error': error, 'verdict': stage.verdict.value}
