# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench live` is asked for and measures, as values.

A part is one set of cases of one model, which runs in a process of its own. What comes of it is a
JSON object. This file imports nothing of its room but `benchmark.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from penguin_ros.benchmark.tasks import Target, TargetError
from penguin_ros.config import PenguinConfig

CLIP, SLIDE, CAPTIONS, INTERRUPT = 'clip', 'slide', 'captions', 'interrupt'
CASES = {
    CLIP: 'a cold clip, a second and a tenth question on it, 1 to 7 frames appended, and what '
    'verifying drafts costs',
    SLIDE: 'a slide by 1 of 8 frames of equal size',
    CAPTIONS: 'a caption every second of a static and of a changing scene, with drafts and gate '
    'on and off',
    INTERRUPT: 'a question while a caption runs',
}
GROWTH = 'growth'
"""The case of first tokens as the clip grows, which is plotted."""

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class LiveBenchSettings:
    """What was asked for.

    `models` are folders of bundles, or folders or hub ids of checkpoints. `cases` is empty when
    none is wanted. `rounds` and `captions` (of each scene) are 0 for as many as suit the speed of
    the model. `tokens` is the length of each text, 0 where texts end by themselves. `size` is the
    (width, height) of the images, None for those that suit the model. `video` is what is captioned,
    '' for the simulated world. `config` holds the settings of the models.
    """

    config: PenguinConfig
    models: tuple[str, ...] = ()
    cases: tuple[str, ...] = tuple(CASES)
    rounds: int = 0
    captions: int = 0
    tokens: int = 0
    size: tuple[int, int] | None = None
    video: str = ''
    has_default_model: bool = True
    has_growth: bool = False
    has_node: bool = False
    node_seconds: float = 120.0


@dataclass(frozen=True)
class LiveTask:
    """The `cases` of one part.

    `tokens` is the length of each text, 0 where texts end by themselves; (`width`, `height`) is the
    size of the images; `video` holds the scenes of the captions, '' for simulated ones. `rounds`
    and `captions` of a scene are 0 for as many as suit the speed of the model.
    """

    target: Target
    cases: tuple[str, ...]
    rounds: int = 0
    tokens: int = 0
    width: int = 640
    height: int = 360
    captions: int = 0
    video: str = ''

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


LiveRunner = Callable[[LiveTask], JsonObject]


@dataclass(eq=False)
class ModelRun:
    """A model and the `record` of its parts, with the key `error` where one failed. `is_default`
    marks the model of the simulated world.
    """

    target: Target
    is_default: bool
    record: JsonObject


def failed(error: TargetError) -> JsonObject:
    """The record of a part that did not run."""
    return {'error': asdict(error)}


def task_from(plain: Mapping[str, Any]) -> LiveTask:
    """Makes a task from the JSON of one."""
    return LiveTask(
        **{**plain, 'target': Target(**plain['target']), 'cases': tuple(plain['cases'])}
    )
