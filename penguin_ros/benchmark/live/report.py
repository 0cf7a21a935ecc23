# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench live` found, as tables for people, as JSON and as a picture. Measures
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.report import PIPE_WIDTH
from penguin_ros.benchmark.live.ratios import Ratio, TextSource, ratios
from penguin_ros.benchmark.live.tasks import ModelRun, Record
from penguin_ros.benchmark.machine import machine
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.agreement import Agreement

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
"""Of the JSON; rises when a reader of it would have to change."""


class LiveReport:
    """Of all models and the node; `loads` of the machine at the start and at the end."""

    def __init__(
        self,
        models: Sequence[ModelRun],
        node: Record | None,
        loads: Sequence[float],
        config: PenguinConfig,
    ) -> None:
        self._models, self._node = models, node
        speaker = next(
            (
                TextSource(model.target.name, model.record['texts'])
                for model in models
                if model.is_default and 'texts' in model.record
            ),
            None,
        )
        self._ratios: list[list[Ratio]] = [
            ratios(
                model.record, None if model.is_default else speaker, config.generation.draft_tokens
            )
            for model in models
        ]
        threads = config.model.threads or usable_cores()
        self._machine = (
            f'{machine(threads)}, load {loads[0]:.1f} at the start, {loads[-1]:.1f} at the end'
        )

    @property
    def is_good(self) -> bool:
        """Nothing failed, and both sides of every case agree."""
        errors = [model.record.get('error') for model in self._models] + [
            (self._node or {}).get('error')
        ]
        return not any(errors) and all(
            each.is_good for model in self._models for each in agreements(model.record)
        )

    @cached_property
    def record(self) -> Record:
        """Plain values."""
        models = [
            {
                'name': model.target.name,
                'source': model.target.source,
                'is_default': model.is_default,
                'settings': dict(model.target.settings),
                **model.record,
                'ratios': [asdict(each) for each in of_model],
                'is_same': all(each.is_good for each in agreements(model.record)),
            }
            for model, of_model in zip(self._models, self._ratios, strict=True)
        ]
        return {
            'format': FORMAT,
            'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'machine': self._machine,
            'models': models,
            'node': self._node,
        }

    def write(self, path: Path) -> None:
        """The record as JSON; PenguinError when the file cannot be written."""
        try:
            path.write_text(
                json.dumps(self.record, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
                encoding='utf-8',
            )
        except OSError as error:
            raise PenguinError(f'{path} cannot be written', error.strerror or str(error)) from error

    def draw(self, path: Path) -> None:
        """First tokens as the clip grows, of each model that has them."""
        from penguin_ros.benchmark.live.growth import draw

        named = [
            (title(model), model.record['growth'])
            for model in self._models
            if 'growth' in model.record
        ]
        if named:
            draw(path, named, f'{self._machine}, {self.record["time"][:10]}')

    def print(self) -> None:
        """Tables on stdout."""
        from rich.console import Console

        from penguin_ros.benchmark.live.tables import print_model, print_node

        console: Console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
        for model, of_model in zip(self._models, self._ratios, strict=True):
            if model.record:
                print_model(console, title(model), model.record, of_model)
        if self._node is not None:
            print_node(console, self._node)
        console.print(f'\n{self._machine}.', markup=False, soft_wrap=True)


def agreements(record: Record) -> Iterator[Agreement]:
    """Of all cases that were made on both sides."""
    for case in (*record.get('cases', []), *record.get('captions', [])):
        if case['agreement'] is not None:
            yield Agreement(**case['agreement'])


def title(model: ModelRun) -> str:
    """Name, backend and precision."""
    facts = model.record.get('facts')
    return model.target.name + (
        f': {facts["backend"]}, {facts["device"]}, {facts["precision"]}' if facts else ''
    )
