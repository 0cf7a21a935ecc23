# SPDX-License-Identifier: Apache-2.0
"""Work that nobody has asked for yet: frames of a camera's window are taken and encoded as they
arrive. Knows no questions.

Of least priority: a question or a caption interrupts it between two steps. What it finds is what
there is when it comes to run, so that one waiting job per camera is enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from contextlib import suppress

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import Inactive, NoFreeSlot, PenguinError, PromptTooLong
from penguin_ros.generation.precompute import precompute_features, precompute_prefix
from penguin_ros.preprocessing.frame_plan import FramePlan
from penguin_ros.request import Priority
from penguin_ros.requests.clip_selection import CameraView
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.steps import driven
from penguin_ros.text import cleaned
from penguin_ros.window.camera_window import WindowClip
from penguin_ros.window.window_rules import GROWING, RECENT


class PrecomputeJob:
    """A Job of the scheduler."""

    max_preemption_ns = deadline_ns = None
    priority = Priority.BACKGROUND

    def __init__(
        self,
        number: int,
        view: CameraView,
        config: PenguinConfig,
        model: LoadedModel,
        steady_ns: Callable[[], int],
    ) -> None:
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
        durations_ns: list[int] = []
        work = self._work(found, found.plan)
        encoded = yield from driven(work, self._steady_ns, durations_ns.append)
        if encoded:
            self._view.window.note_frame_cost(sum(durations_ns) // encoded)

    def finish(self) -> None:
        """Nobody waits for it."""
        self.is_waiting = False

    def abort(self, error: PenguinError) -> None:
        """What was finished is kept."""
        self.is_waiting = False

    def _work(self, found: WindowClip, plan: FramePlan) -> Generator[None, None, int]:
        """Returns how many frames it encoded."""
        config, caches = self._config, self._model.caches
        preprocessor = self._model.preprocessor(config.visual)
        encoded = yield from precompute_features(
            caches, preprocessor.clip_patches(found.clip, plan)
        )
        if config.clip.precompute == 'prefill' and config.clip.window == GROWING:
            inputs = yield from preprocessor.clip_steps(
                found.clip, cleaned(config.caption.prompt), plan=plan
            )
            with suppress(NoFreeSlot, PromptTooLong):  # requests use all slots, or will be told
                yield from precompute_prefix(caches, inputs, config.model.prefill_chunk)
        return encoded


class PrecomputeQueue:
    """Has one job wait per camera, when there is anything to do and anywhere to keep it; any
    thread.
    """

    def __init__(
        self, submit: Callable[[PrecomputeJob], None], steady_ns: Callable[[], int]
    ) -> None:
        self._submit, self._steady_ns = submit, steady_ns
        self._numbers = itertools.count()
        self._last: dict[str, PrecomputeJob] = {}

    def offer(
        self, view: CameraView, stamp_ns: int, config: PenguinConfig, model: LoadedModel | None
    ) -> None:
        """A frame of that stamp has come."""
        is_wanted = (
            config.clip.window != RECENT
            and config.clip.precompute != 'off'
            and config.model.prefix_caching
        )
        last = self._last.get(view.buffer.camera)
        if (
            model is None
            or not is_wanted
            or (last is not None and last.is_waiting)
            or not view.window.is_due(stamp_ns)
        ):
            return
        job = PrecomputeJob(next(self._numbers), view, config, model, self._steady_ns)
        self._last[job.key] = job
        try:
            self._submit(job)
        except Inactive as error:
            job.abort(error)
