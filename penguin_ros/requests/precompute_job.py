# SPDX-License-Identifier: Apache-2.0
"""Work that nobody has asked for yet: frames of a camera's window are taken and encoded as they
arrive.

It has the least priority, so a question or a caption interrupts it between two steps. A job works
on the frames that are there when it comes to run, so one waiting job per camera is enough; see
Camera.claim_precompute.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import suppress

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import NoFreeSlot, PenguinError, PromptTooLong
from penguin_ros.generation.precompute import precompute_features, precompute_prefix
from penguin_ros.preprocessing.frame_plan import FramePlan
from penguin_ros.request import Priority
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.steps import driven
from penguin_ros.text import cleaned
from penguin_ros.window.camera import Camera
from penguin_ros.window.camera_window import ChosenClip
from penguin_ros.window.window_rules import GROWING


class PrecomputeJob:
    """A Job of the scheduler for a camera whose precompute was claimed."""

    max_preemption_ns = None
    deadline_ns = None
    is_ready = True
    priority = Priority.BACKGROUND

    def __init__(
        self,
        camera: Camera,
        config: PenguinConfig,
        model: LoadedModel,
        steady_ns: Callable[[], int],
    ) -> None:
        self.key = camera.name
        self.id = f'precompute/{camera.name}/{uuid.uuid4().hex}'
        self._camera = camera
        self._config = config
        self._model = model
        self._steady_ns = steady_ns
        self._is_waiting = True

    def steps(self) -> Generator[None, None, None]:
        """Takes the frames that have arrived and encodes them; see Job."""
        self._stop_waiting()
        chosen = yield from self._camera.present_clip(self._model.window_rules(self._config))
        if chosen is None or chosen.plan is None:
            return
        durations_ns: list[int] = []
        work = self._work(chosen, chosen.plan)
        encoded = yield from driven(work, self._steady_ns, durations_ns.append)
        if encoded:
            self._camera.note_frame_cost(sum(durations_ns) // encoded)

    def finish(self) -> None:
        """Frees the camera's place in line; see Job."""
        self._stop_waiting()

    def abort(self, error: PenguinError) -> None:
        """Frees the camera's place in line; what was finished is kept. See Job."""
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        """Lets the next job of the camera wait; once, since that may be the case already."""
        if self._is_waiting:
            self._is_waiting = False
            self._camera.release_precompute()

    def _work(self, chosen: ChosenClip, plan: FramePlan) -> Generator[None, None, int]:
        """Encodes what is not encoded yet; returns how many frames that were."""
        config, caches = self._config, self._model.caches
        preprocessor = self._model.preprocessor(config.visual)
        patches = preprocessor.clip_patches(chosen.clip, plan)
        encoded = yield from precompute_features(caches, patches)
        if config.clip.precompute == 'prefill' and config.clip.window == GROWING:
            inputs = yield from preprocessor.clip_steps(
                chosen.clip, cleaned(config.caption.prompt), plan=plan
            )
            # Requests use all slots, or the request itself will say that the prompt is too long.
            with suppress(NoFreeSlot, PromptTooLong):
                chunk = config.model.prefill_chunk or caches.backend.description.prefill_chunk
                yield from precompute_prefix(caches, inputs, chunk)
        return encoded
