# SPDX-License-Identifier: Apache-2.0
"""Which models `penguin bench live` measures, and which parts each of them is given."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from penguin_ros.benchmark.live.tasks import (
    CASES,
    GROWTH,
    INTERRUPT,
    JsonObject,
    LiveBenchSettings,
    LiveRunner,
    LiveTask,
    ModelRun,
    failed,
)
from penguin_ros.benchmark.tasks import Target, TargetError
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.settings import Value, changed_values
from penguin_ros.shipped import shipped_model

DEFAULT_MODEL_SIZE, OTHER_SIZE = (168, 112), (640, 360)
"""The size of the images of the default model, which has learnt small ones, and of the others."""

LEARNT: Mapping[str, Value] = {'clip.fps': 1.0, 'clip.max_frames': 4}
"""What the default model has learnt: clips of up to four frames, a second apart."""


def models_to_measure(settings: LiveBenchSettings) -> list[ModelRun]:
    """The model of the simulated world first, where its weights are, then those that are named.

    Where there is none at all, a node is measured on an empty target (see `measure_node`); without
    a node that is a SettingError.
    """
    given = changed_values(PenguinConfig(), settings.config)
    default = shipped_model() if settings.has_default_model else None
    models = [ModelRun(Target(name, '', given), False, {}) for name in settings.models]
    if default:
        models.insert(0, ModelRun(Target(str(default), '', {**LEARNT, **given}), True, {}))
    if not models and not settings.has_node:
        raise SettingError(
            'no model',
            'the weights of the model of the simulated world are not here',
            'Name a bundle or a checkpoint: penguin bench live engines/NAME',
        )
    return models or [ModelRun(Target('', '', given), False, {})]


def measure_model(model: ModelRun, settings: LiveBenchSettings, runner: LiveRunner) -> None:
    """Adds to the record of the model. Texts and interruptions are parts of their own, each in a
    fresh process.
    """
    task = _task(model, settings)
    texts = tuple(name for name in task.cases if name != INTERRUPT)
    for cases in (texts, (INTERRUPT,) if INTERRUPT in task.cases else ()):
        if cases:
            status_line(f'{model.target.name}: {", ".join(cases)}')
            found = runner(replace(task, cases=cases))
            model.record.update({**found, 'error': model.record.get('error') or found['error']})


def measure_node(model: ModelRun, settings: LiveBenchSettings) -> JsonObject:
    """Measures the node over real topics; what goes wrong becomes the record's `error`.

    A target without a source stands for a tiny model with random weights: what it says means
    nothing, but rates, latencies and memory are real.
    """
    from penguin_ros.benchmark.live.node import NodeTask, node_record

    target = model.target
    with tempfile.TemporaryDirectory(prefix='penguin_bench_') as folder:
        try:
            if not target.source:
                from penguin_ros.testing.random_checkpoint import write_random_checkpoint

                checkpoint = write_random_checkpoint(Path(folder) / 'random-tiny')
                target = replace(target, source=str(checkpoint))
            task = NodeTask(target, settings.node_seconds, settings.video)
            return {'model': target.name, **node_record(task)}
        except (PenguinError, OSError) as error:
            return failed(TargetError.of(error))


def _task(model: ModelRun, settings: LiveBenchSettings) -> LiveTask:
    cases = tuple(name for name in CASES if name in settings.cases)
    width, height = settings.size or (DEFAULT_MODEL_SIZE if model.is_default else OTHER_SIZE)
    return LiveTask(
        model.target,
        (*cases, GROWTH) if settings.has_growth else cases,
        settings.rounds,
        0 if model.is_default else settings.tokens,
        width,
        height,
        settings.captions,
        settings.video,
    )
