# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench engine` found: a table for people and a record for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penguin_ros.benchmark.engine.agreement_figures import agreement_figures
from penguin_ros.benchmark.engine.answer_arrays import read_answer
from penguin_ros.benchmark.engine.figures import BandwidthLimit, Figure, Figures
from penguin_ros.benchmark.engine.rounds import arrays_of
from penguin_ros.benchmark.engine.tasks import EngineBenchSettings, TargetRun
from penguin_ros.benchmark.machine import REPEATS, machine
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.console import table_console
from penguin_ros.errors import PenguinError

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
"""The version of the JSON; it rises when a reader of it would have to change."""

HOW = 'how it was measured'


class EngineReport:
    """Everything that was found out. `folder` holds the arrays that the targets are compared by; it
    is read at once.
    """

    def __init__(
        self,
        targets: Sequence[TargetRun],
        settings: EngineBenchSettings,
        bandwidth: float,
        load: float,
        folder: Path,
    ) -> None:
        self._targets = targets
        self._settings = settings
        self._machine = f'{machine(settings.threads)}, load {load:.1f} at the start'
        limit = BandwidthLimit(
            bandwidth,
            f'read by {settings.threads} threads of numpy before every round and at the end, best '
            f'of {REPEATS} each',
        )
        self._figures = [
            Figures(each.rounds, limit).all() if each.rounds else [] for each in targets
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
        """Prints the tables on stdout."""
        console = table_console()
        self._print_targets(console)
        self._print_agreement(console)
        console.print(
            f'\n{self._machine}; medians of {self._settings.rounds} rounds.',
            markup=False,
            soft_wrap=True,
        )

    @cached_property
    def record(self) -> dict[str, Any]:
        """Everything as plain values, with every round."""
        error = self._agreement_error
        agreement = {
            'error': None if error is None else asdict(error),
            'figures': [_plain(item) for item in self._agreement],
        }
        return {
            'format': FORMAT,
            'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'machine': self._machine,
            'rounds': self._settings.rounds,
            'sides': [
                _target_record(each, figures)
                for each, figures in zip(self._targets, self._figures, strict=True)
            ],
            'agreement': agreement if len(self._targets) > 1 else None,
        }

    def _compare(self, folder: Path) -> None:
        try:
            if not all(each.rounds for each in self._targets):
                raise PenguinError('nothing to compare', 'a target did not run')
            arrays = (read_answer(arrays_of(folder, number)) for number in range(2))
            self._agreement = agreement_figures(*arrays)
        except (PenguinError, OSError) as error:
            self._agreement_error = TargetError.of(error)

    def _print_targets(self, console: Console) -> None:
        from rich.markup import escape
        from rich.table import Table

        pairs = zip(self._targets, self._figures, strict=True)
        ran = [(each, figures) for each, figures in pairs if each.rounds]
        for each in self._targets:
            _print_error(console, each.target.name, each.error)
        if not ran:
            return
        table = Table(box=None, pad_edge=False)
        table.add_column('', no_wrap=True)
        for each, _ in ran:
            table.add_column(escape(_title(each)), justify='right')
        table.add_column(HOW, overflow='fold', style='dim')
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
        table.add_column(HOW, overflow='fold', style='dim')
        for figure in self._agreement:
            unit = f' [{figure.unit}]' if figure.unit else ''
            table.add_row(escape(figure.name + unit), f'{figure.value:.5g}', escape(figure.how))
        if self._agreement:
            console.print(table)


def _target_record(run: TargetRun, figures: Sequence[Figure]) -> dict[str, Any]:
    target = run.target
    record: dict[str, Any] = {
        'name': target.name,
        'source': target.source,
        'graphs_in': target.graphs_in,
        'settings': dict(target.settings),
        'error': None if run.error is None else asdict(run.error),
        'facts': dict(run.rounds[0].facts) if run.rounds else {},
        'figures': [_plain(item) for item in figures],
    }
    if run.rounds:
        record |= {'tokens': list(run.rounds[0].tokens), 'text': run.rounds[0].text}
    return record


def _title(run: TargetRun) -> str:
    facts = run.rounds[0].facts
    return f'{run.target.name}: {facts["name"]}, {facts["device"]}, {facts["precision"]}'


def _print_error(console: Console, name: str, error: TargetError | None) -> None:
    if error is not None:
        words = f'{name} failed: {error.in_words()}'
        console.print(words, markup=False, style='red', soft_wrap=True)


def _rows(targets: Sequence[Sequence[Figure]]) -> Iterator[tuple[str, str, list[Figure | None]]]:
    """Yields each figure of any target once, in the order of the first target that has it."""
    known = {figure.name: figure.unit for figures in targets for figure in figures}
    by_name = [{figure.name: figure for figure in figures} for figures in targets]
    for name, unit in known.items():
        yield name, unit, [figures.get(name) for figures in by_name]


def _number(value: float | None) -> str:
    if value is None:
        return 'not measured'
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def _plain(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), 'name': figure.name.strip(), 'rounds': list(figure.rounds)}
