# SPDX-License-Identifier: Apache-2.0
"""The step that builds the engines of the bundle as the steps before it chose, and watches the
memory meanwhile. Engines that fit this board stay.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.tensorrt.engine_manifest import EngineManifest
from penguin_ros.board.choice import choose
from penguin_ros.board.machine_facts import resident_bytes
from penguin_ros.board.profile import BoardProfile
from penguin_ros.board.result import DONE, StepResult
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.board_facts import board_facts, memory_facts
from penguin_ros.board_memory.board_classes import WITH_OWN_MEMORY, class_of
from penguin_ros.export.tensorrt.build import EngineOptions, build_engines
from penguin_ros.plain_values import to_plain

SAMPLE_S = 0.5
LEFT_OUT = ('file', 'content', 'graph')
"""Of what is kept of an engine: names and digests, which say nothing here."""


def run(order: StepOrder, note: Note) -> None:
    """Notes what was built, how long it took, and the least memory that was left."""
    bundle = open_bundle(order.bundle)
    results = {name: StepResult(name, DONE, facts=facts) for name, facts in order.facts.items()}
    profile = choose(results)
    note({'bundle': _bundle(bundle)})
    started: list[tuple[str, float]] = []

    def show(stage: str, fraction: float) -> None:
        form = stage.rpartition(':')[0] or stage
        if not started or started[-1][0] != stage:
            started.append((stage, time.monotonic()))
            note({'tried': [name for name, _ in started], 'at': form})

    start = time.monotonic()
    with MemoryWatch() as watch:
        try:
            manifest = build_engines(Path(order.bundle), _options(profile), show)
        finally:
            note({'seconds': round(time.monotonic() - start, 1), 'memory': watch.facts()})
    note({'engines': engines(manifest), 'is_kept': not started})


def engines(manifest: EngineManifest) -> dict[str, Any]:
    """Returns what is known of each engine, by part."""
    return {
        engine.part: {
            **{name: value for name, value in to_plain(engine).items() if name not in LEFT_OUT},
            'plan_bytes': engine.content.bytes,
        }
        for engine in manifest.engines
    }


def _options(profile: BoardProfile) -> EngineOptions:
    """What was chosen, and the defaults of `penguin build` on this machine where nothing was."""
    facts = board_facts()
    is_jetson = facts.jetson is not None
    sizes = class_of(facts.memory.total).sizes if is_jetson else WITH_OWN_MEMORY
    return EngineOptions(
        max_rows=sizes.max_rows,
        max_patches=profile.max_patches or sizes.max_patches,
        variant=profile.variant or 'auto',
        forms=profile.forms,
    )


def _bundle(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        'model': manifest.model_name.rpartition('/')[2],
        'precision': to_plain(manifest.precision),
        'max_length': manifest.max_length,
        'layers': manifest.shape.llm.layers,
        'hidden_size': manifest.shape.llm.hidden_size,
        'vocabulary_size': manifest.shape.vocabulary_size,
    }


class MemoryWatch:
    """Notes the least available memory and the most of this process, on a thread of its own, while
    it is entered.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name='memory watch', daemon=True)
        self._first = memory_facts()
        self._least = [self._first.available, self._first.cma_free]
        self._most = resident_bytes()

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def facts(self) -> dict[str, int]:
        """Returns bytes."""
        return {
            'available_before': self._first.available,
            'available_least': self._least[0],
            'cma_free_least': self._least[1],
            'resident_most': self._most,
        }

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            now = memory_facts()
            self._least = [
                min(self._least[0], now.available),
                min(self._least[1], now.cma_free),
            ]
            self._most = max(self._most, resident_bytes())
