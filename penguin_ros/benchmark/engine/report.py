# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench engine` found, as a table for people and as JSON. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penguin_ros.benchmark.engine.agreement import compare
from penguin_ros.benchmark.engine.answer_arrays import read_answer
from penguin_ros.benchmark.engine.figures import Figure, Figures, Limit
from penguin_ros.benchmark.engine.runs import Plan, TargetRun, arrays_of
from penguin_ros.benchmark.machine import REPEATS, machine
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.errors import PenguinError

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
"""Of the JSON; rises when a reader of it would have to change."""

PIPE_WIDTH = 150
"""Characters of a line where there is no terminal."""


class Report:
    """Everything that was found out; `folder` holds what the sides are compared by, and is read at
    once.
    """

    def __init__(
        self, targets: Sequence[TargetRun], plan: Plan, bandwidth: float, load: float, folder: Path
    ) -> None:
        self._targets, self._plan = targets, plan
        self._machine = f'{machine(plan.threads)}, load {load:.1f} at the start'
        self._limit = Limit(
            bandwidth,
            f'read by {plan.threads} threads of numpy before every round and at the end, best of '
            f'{REPEATS} each',
        )
        self._figures = [
            Figures(each.rounds, self._limit).all() if each.rounds else [] for each in targets
        ]
        self._agreement: list[Figure] = []
        self._agreement_error: TargetError | None = None
        if len(targets) > 1:
            self._compare(folder)

    @property
    def is_agreement_missing(self) -> bool:
        """Whether there should be a comparison and is none."""
        return self._agreement_error is not None

    def print(self) -> None:
        """Tables on stdout."""
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
        self._print_targets(console)
        self._print_agreement(console)
        console.print(
            f'\n{self._machine}; medians of {self._plan.rounds} rounds.',
            markup=False,
            soft_wrap=True,
        )

    def write(self, path: Path) -> None:
        """The same as JSON, with every round; PenguinError when the file cannot be written."""
        try:
            path.write_text(
                json.dumps(self.record, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
                encoding='utf-8',
            )
        except OSError as error:
            raise PenguinError(f'{path} cannot be written', error.strerror or str(error)) from error

    @cached_property
    def record(self) -> dict[str, Any]:
        """Plain values."""
        targets = [
            {
                'name': each.target.name,
                'source': each.target.source,
                'graphs_in': each.target.graphs_in,
                'settings': dict(each.target.settings),
                'error': None if each.error is None else asdict(each.error),
                'facts': dict(each.rounds[0].facts) if each.rounds else {},
                'figures': [_plain(item) for item in figures],
                **(
                    {'tokens': list(each.rounds[0].tokens), 'text': each.rounds[0].text}
                    if each.rounds
                    else {}
                ),
            }
            for each, figures in zip(self._targets, self._figures, strict=True)
        ]
        error = self._agreement_error
        agreement = {
            'error': None if error is None else asdict(error),
            'figures': [_plain(item) for item in self._agreement],
        }
        return {
            'format': FORMAT,
            'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'machine': self._machine,
            'rounds': self._plan.rounds,
            'sides': targets,
            'agreement': agreement if len(self._targets) > 1 else None,
        }

    def _compare(self, folder: Path) -> None:
        try:
            if not all(each.rounds for each in self._targets):
                raise PenguinError('nothing to compare', 'a side did not run')
            self._agreement = compare(
                *(read_answer(arrays_of(folder, number)) for number in range(len(self._targets)))
            )
        except (PenguinError, OSError) as error:
            self._agreement_error = TargetError.of(error)

    def _print_targets(self, console: Console) -> None:
        from rich.markup import escape
        from rich.table import Table

        ran = [
            (each, figures)
            for each, figures in zip(self._targets, self._figures, strict=True)
            if each.rounds
        ]
        for each in self._targets:
            _print_error(console, each.target.name, each.error)
        if not ran:
            return
        table = Table(box=None, pad_edge=False)
        table.add_column('', no_wrap=True)
        for each, _ in ran:
            table.add_column(escape(_title(each)), justify='right')
        table.add_column('how it was measured', overflow='fold', style='dim')
        for name, unit, figures in _rows([figures for _, figures in ran]):
            hows = dict.fromkeys(figure.how for figure in figures if figure)
            table.add_row(
                name + (f' [{unit}]' if unit else '').replace('[', '\\['),
                *('–' if figure is None else _number(figure.value) for figure in figures),
                escape(' | '.join(hows)),
            )
        console.print(table)

    def _print_agreement(self, console: Console) -> None:
        from rich.markup import escape
        from rich.table import Table

        if len(self._targets) < 2:
            return
        console.print()
        _print_error(console, 'agreement', self._agreement_error)
        table = Table(box=None, pad_edge=False)
        table.add_column(escape(f'agreement with {self._targets[1].target.name}'), no_wrap=True)
        table.add_column('', justify='right')
        table.add_column('how it was measured', overflow='fold', style='dim')
        for figure in self._agreement:
            unit = f' [{figure.unit}]' if figure.unit else ''
            table.add_row(escape(figure.name + unit), f'{figure.value:.5g}', escape(figure.how))
        if self._agreement:
            console.print(table)


def _title(run: TargetRun) -> str:
    facts = run.rounds[0].facts
    return f'{run.target.name}: {facts["name"]}, {facts["device"]}, {facts["precision"]}'


def _print_error(console: Console, name: str, error: TargetError | None) -> None:
    if error is not None:
        text = f'{name} failed: {error.kind}: {error.what}' + (
            f': {error.why}' if error.why else ''
        )
        console.print(
            text + (f'\n→ {error.fix}' if error.fix else ''),
            markup=False,
            style='red',
            soft_wrap=True,
        )


def _rows(targets: Sequence[Sequence[Figure]]) -> Iterator[tuple[str, str, list[Figure | None]]]:
    """Each figure of any side once, in the order of the first side that has it."""
    known = {figure.name: figure.unit for figures in targets for figure in figures}
    for name, unit in known.items():
        yield (
            name,
            unit,
            [
                next((figure for figure in figures if figure.name == name), None)
                for figures in targets
            ],
        )


def _number(value: float | None) -> str:
    if value is None:
        return 'not measured'
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def _plain(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), 'name': figure.name.strip(), 'rounds': list(figure.rounds)}
