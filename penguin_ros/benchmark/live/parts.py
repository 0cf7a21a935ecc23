# SPDX-License-Identifier: Apache-2.0
"""Runs one part of `penguin bench live`: the cases that are texts, or the question during a
caption.

This file is also the program of a part: it takes a LiveTask as JSON and prints the part's record as
JSON. A part that dies takes nothing else with it, and the memory that is counted is its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from penguin_ros.backends.base.slots import SlotDefaults
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.benchmark.live.captions import MOST_CAPTIONS, CaptionRuns
from penguin_ros.benchmark.live.clips import ClipCases
from penguin_ros.benchmark.live.growth import growth
from penguin_ros.benchmark.live.interrupt import interrupt_record
from penguin_ros.benchmark.live.scenes import CHANGING, STATIC, Stream, stream
from penguin_ros.benchmark.live.tasks import (
    CAPTIONS,
    CLIP,
    GROWTH,
    INTERRUPT,
    SLIDE,
    JsonObject,
    LiveTask,
    failed,
    task_from,
)
from penguin_ros.benchmark.live.texts import TextBench, live_config
from penguin_ros.benchmark.machine import resident_bytes
from penguin_ros.benchmark.process import process_result
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError
from penguin_ros.requests.loaded_model import load_model

LIMIT_S = 3600.0
"""A process that takes longer is ended."""

SLOW_S = 0.5
"""A model that takes longer for two small frames is slow: one round is measured, and few captions,
unless more are asked for.
"""


def run_here(task: LiveTask) -> JsonObject:
    """Runs a part in this process; whatever goes wrong becomes the record's `error`."""
    try:
        record = interrupt_record(task) if INTERRUPT in task.cases else texts_record(task)
        return {'error': None, **record}
    except Exception as error:
        return failed(TargetError.of(error))


def run_apart(task: LiveTask) -> JsonObject:
    """Runs a part in a process of its own, which is ended after LIMIT_S."""
    record = process_result(__name__, asdict(task), task.target.name, LIMIT_S)
    return failed(record) if isinstance(record, TargetError) else record


def main() -> None:
    """The program of one part."""
    print(json.dumps(run_here(task_from(json.loads(sys.argv[1])))), flush=True)


def texts_record(task: LiveTask) -> JsonObject:
    """Opens the model, runs the cases that are texts and closes it; raises what any of that
    raises.
    """
    config = live_config(task.target)
    scenes = _streams(task, config)  # before the model is there: drawing takes memory and time
    # The variant that keeps nothing needs a slot in which nothing is kept.
    slots = config.model.kv_slots or SlotDefaults().slots
    one_more = replace(config.model, kv_slots=slots + 1, kv_bytes=2**40)
    loaded = load_model(one_more, make_backend, status_line, time.monotonic_ns)
    try:
        bench = TextBench(loaded, config, task)
        record = {
            'facts': {**asdict(loaded.description), 'resident_loaded': resident_bytes()[0]},
            **_cases(bench, scenes),
        }
        return {
            **record,
            'memory': _highest(bench.memory),
            'rounding': bench.rounding,
            'resident_peak': resident_bytes()[1],
        }
    finally:
        loaded.backend.close()


def _streams(task: LiveTask, config: PenguinConfig) -> list[Stream]:
    if CAPTIONS not in task.cases:
        return []
    seconds = task.captions or MOST_CAPTIONS
    return [
        stream(scene, seconds, config.clip.fps, task.size, task.video)
        for scene in (STATIC, CHANGING)
    ]


def _cases(bench: TextBench, scenes: Sequence[Stream]) -> JsonObject:
    clips = ClipCases(bench)
    bench.is_slow = clips.warm_up() > SLOW_S
    record: JsonObject = {'is_slow': bench.is_slow, 'rounds': bench.rounds, 'cases': []}
    cases: dict[str, Callable[[], JsonObject]] = {
        CLIP: lambda: clips.clip(bench.rounds),
        SLIDE: lambda: clips.slide(bench.rounds),
        CAPTIONS: lambda: CaptionRuns(bench).all(scenes),
        GROWTH: lambda: {'growth': growth(bench)},
    }
    for name in bench.task.cases:
        status_line(f'{bench.task.target.name}: {name}')
        try:
            found = cases[name]()
        except PenguinError as error:  # what was measured before it counts
            record['error'] = asdict(TargetError.of(error))
            break
        record['cases'] += found.pop('cases', [])
        record.update(found)
    return record


def _highest(held: list[JsonObject]) -> JsonObject:
    """The most that was kept, of each kind."""
    return {name: max(each[name] for each in held) for name in held[0]} if held else {}


if __name__ == '__main__':
    main()
