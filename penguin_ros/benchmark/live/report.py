# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench live` found: tables for people, a record for JSON, and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.live.ratios import Ratio, TextSource, ratios
from penguin_ros.benchmark.live.tasks import JsonObject, ModelRun
from penguin_ros.benchmark.machine import machine
from penguin_ros.config import PenguinConfig
from penguin_ros.console import table_console
from penguin_ros.evaluation.agreement import Agreement

FORMAT = 1
"""The version of the JSON; it rises when a reader of it would have to change."""


class LiveReport:
    """Everything about all models and the node. `loads` are those of the machine at the start and
    at the end.
    """

    def __init__(
        self,
        models: Sequence[ModelRun],
        node: JsonObject | None,
        loads: Sequence[float],
        config: PenguinConfig,
    ) -> None:
        self._models = models
        self._node = node
        source = _text_source(models)
        drafts = config.generation.draft_tokens
        self._ratios: list[list[Ratio]] = [
            ratios(model.record, None if model.is_default else source, drafts) for model in models
        ]
        threads = config.model.threads or usable_cores()
        self._machine = (
            f'{machine(threads)}, load {loads[0]:.1f} at the start, {loads[-1]:.1f} at the end'
        )

    @property
    def is_anything_measured(self) -> bool:
        """Whether the parts of a model, or the node, ran."""
        is_model_measured = not all(model.record.get('error') for model in self._models)
        return is_model_measured or (self._node is not None and not self._node['error'])

    @property
    def is_good(self) -> bool:
        """Whether nothing failed and both variants of every case agree."""
        errors = [model.record.get('error') for model in self._models]
        errors.append((self._node or {}).get('error'))
        return not any(errors) and all(
            each.is_good for model in self._models for each in agreements(model.record)
        )

    @cached_property
    def record(self) -> JsonObject:
        """Everything as plain values."""
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

    def draw(self, path: Path) -> None:
        """Plots first tokens as the clip grows, for each model that has them."""
        from penguin_ros.benchmark.live.growth import draw

        named = [
            (title(model), model.record['growth'])
            for model in self._models
            if 'growth' in model.record
        ]
        if named:
            draw(path, named, f'{self._machine}, {self.record["time"][:10]}')

    def print(self) -> None:
        """Prints the tables on stdout."""
        from penguin_ros.benchmark.live.tables import print_model, print_node

        console = table_console()
        for model, of_model in zip(self._models, self._ratios, strict=True):
            if model.record:
                print_model(console, title(model), model.record, of_model)
        if self._node is not None:
            print_node(console, self._node)
        console.print(f'\n{self._machine}.', markup=False, soft_wrap=True)


def agreements(record: JsonObject) -> Iterator[Agreement]:
    """The agreements of all cases that were made in both variants."""
    for case in (*record.get('cases', []), *record.get('captions', [])):
        if case['agreement'] is not None:
            yield Agreement(**case['agreement'])


def _text_source(models: Sequence[ModelRun]) -> TextSource | None:
    """The default model, where it made captions."""
    for model in models:
        if model.is_default and 'texts' in model.record:
            return TextSource(model.target.name, model.record['texts'])
    return None


def title(model: ModelRun) -> str:
    """The name, backend, device and precision of a model."""
    facts = model.record.get('facts')
    return model.target.name + (
        f': {facts["backend"]}, {facts["device"]}, {facts["precision"]}' if facts else ''
    )
