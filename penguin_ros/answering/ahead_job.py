# SPDX-License-Identifier: Apache-2.0
"""Work that nobody has asked for yet: frames of a camera's window are taken and encoded as they arrive. Knows no questions.

Of least priority: a question or a caption interrupts it between two steps. What it finds is what there is when it comes to run,
so that one waiting job per camera is enough.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Generator

from penguin_ros.answering.clip_search import CameraView
from penguin_ros.answering.loaded_model import LoadedModel
from penguin_ros.answering.question_text import cleaned
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import Inactive, PenguinError
from penguin_ros.generation.ahead import encode_ahead, prefill_ahead
from penguin_ros.request import Priority
from penguin_ros.window.camera_window import WindowClip
from penguin_ros.window.window_rules import GROWING, RECENT

SLOTS_FOR_PREFILL = 3  # a resting caption and a question must find a slot while this one is held


class AheadJob:
    """A Job of the scheduler."""

    max_pause_ns = deadline_ns = None
    priority = Priority.AHEAD

    def __init__(self, number: int, view: CameraView, config: PenguinConfig, model: LoadedModel,
                 steady_ns: Callable[[], int]) -> None:
        self._view, self._config, self._model, self._steady_ns = view, config, model, steady_ns
        self.key = view.buffer.camera
        self.id = f'ahead/{self.key}/{number}'
        self.is_waiting = True

    def steps(self) -> Generator[None, None, None]:
        """See Job; on the worker thread."""
        self.is_waiting = False
        rules = self._model.window_rules(self._config)
        yield from self._view.window.take(rules)
        found = self._view.window.clip(rules)
        if found is None or found.plan is None:
            return
        yield from self._encode(found)
        is_shared = rules.policy == GROWING and self._config.clip.ahead == 'prefill'
        if is_shared and self._model.facts.slots >= SLOTS_FOR_PREFILL:
            yield from self._prefill(found)

    def finish(self) -> None:
        """Nobody waits for it."""
        self.is_waiting = False

    def abort(self, error: PenguinError) -> None:
        """What was finished is kept."""
        self.is_waiting = False

    def _encode(self, found: WindowClip) -> Generator[None, None, None]:
        """Tells the window what a frame costs: time in steps alone, not while others interrupt."""
        assert found.plan is not None
        patches = self._model.preprocessor(self._config.visual).clip_patches(found.clip, found.plan)
        steps, spent_ns, encoded = encode_ahead(self._model.reuse, patches), 0, 0
        try:
            while True:
                start_ns = self._steady_ns()
                try:
                    next(steps)
                except StopIteration as end:
                    encoded = end.value
                    break
                finally:
                    spent_ns += self._steady_ns() - start_ns
                yield
        finally:
            steps.close()
        if encoded:
            self._view.window.note_frame_cost(spent_ns // encoded)

    def _prefill(self, found: WindowClip) -> Generator[None, None, None]:
        preprocessor, config = self._model.preprocessor(self._config.visual), self._config
        inputs = yield from preprocessor.clip_steps(found.clip, cleaned(config.caption.prompt), plan=found.plan)
        yield from prefill_ahead(self._model.reuse, inputs, config.model.prefill_chunk)


class WorkAhead:
    """Has one job wait per camera, when there is anything to do and anywhere to keep it; any thread."""

    def __init__(self, submit: Callable[[AheadJob], None], steady_ns: Callable[[], int]) -> None:
        self._submit, self._steady_ns = submit, steady_ns
        self._numbers = itertools.count()
        self._last: dict[str, AheadJob] = {}

    def offer(self, view: CameraView, stamp_ns: int, config: PenguinConfig, model: LoadedModel | None) -> None:
        """A frame of that stamp has come."""
        is_wanted = config.clip.window != RECENT and config.clip.ahead != 'off' and config.model.reuse
        last = self._last.get(view.buffer.camera)
        if model is None or not is_wanted or (last is not None and last.is_waiting) or not view.window.is_due(stamp_ns):
            return
        job = AheadJob(next(self._numbers), view, config, model, self._steady_ns)
        self._last[job.key] = job
        try:
            self._submit(job)
        except Inactive as error:
            job.abort(error)
