# SPDX-License-Identifier: Apache-2.0
"""Asks a model typed questions about simulated scenes, whose truth is known: yes or no, and choices
among all colours, shapes, numbers, motions and sides.

The questions are those that answers are scored by; their probabilities are read as the node reads
them, with nothing sampled. Clips are of scenes that nothing was trained on, and the temperature is
fitted on other seeds of these than it is judged on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penguin_ros.backends.open_backend import make_backend
from penguin_ros.config import PenguinConfig
from penguin_ros.console import progress_bar, status_line
from penguin_ros.evaluation.calibration import JudgedScore
from penguin_ros.evaluation.offline import CAMERA
from penguin_ros.evaluation.score import Suite, clip_frames
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.requests.loaded_model import LoadedModel, load_model
from penguin_ros.scoring.scorer import ScoredQuestion
from penguin_ros.simulation import words
from penguin_ros.simulation.clips import HELD_OUT, SimulatedClip, make_clip
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.world import World
from penguin_ros.steps import run_to_end

CHOICES: Mapping[str, tuple[str, ...]] = {
    'yes_no': (words.YES, words.NO),
    'colour': tuple(f'{colour.capitalize()}.' for colour in COLOURS),
    'shape': tuple(f'A {shape}.' for shape in SHAPES),
    'count': tuple(f'{number.capitalize()}.' for number in words.NUMBERS),
    'motion': tuple(words.DOES.values()),
    'position': tuple(f'{side.capitalize()}.' for side in words.SIDES),
}
"""By kind of question all answers that it may have, worded as a perfect model would."""

YES_NO_KIND = 'yes_no'


@dataclass(frozen=True)
class CalibrationSuite:
    """What is asked: `judged` says about which scenes, and of `fit` others the temperature is made,
    from the far end of the seeds. `is_debiased`: what a neutral clip gives is subtracted.
    """

    judged: Suite
    fit: int
    is_debiased: bool = False

    def seeds(self) -> tuple[range, range]:
        """The seeds that are judged, and those that the temperature is fitted on."""
        suite = self.judged
        return HELD_OUT[suite.skip : suite.skip + suite.scenes], HELD_OUT[-self.fit :]


@dataclass(frozen=True)
class CalibrationRun:
    """What a model, called `model`, gave for the scenes that are judged and for those that its
    temperature is fitted on.
    """

    model: str
    judged: tuple[JudgedScore, ...]
    fit: tuple[JudgedScore, ...]


def score_scenes(suite: CalibrationSuite, config: PenguinConfig) -> CalibrationRun:
    """Asks everything of the suite. Raises BackendUnavailable where scenes cannot be drawn, and
    what opening a model raises.
    """
    model = load_model(config.model, make_backend, status_line, time.monotonic_ns)
    try:
        with World(suite.judged.width, suite.judged.height) as world:
            judged, fit = (
                tuple(_scores(suite, config, model, world, seeds)) for seeds in suite.seeds()
            )
        opened = model.description
        return CalibrationRun(f'{opened.name}, {opened.backend}, {opened.precision}', judged, fit)
    finally:
        model.backend.close()


def _scores(
    suite: CalibrationSuite,
    config: PenguinConfig,
    model: LoadedModel,
    world: World,
    seeds: range,
) -> Iterator[JudgedScore]:
    frames, asked = clip_frames(config), suite.judged
    with progress_bar('scenes', len(seeds)) as show:
        for number, seed in enumerate(seeds):
            clip = make_clip(world, seed, asked.level, frames, config.clip.fps, asked.questions)
            yield from _asked(clip, seed, config, model, suite.is_debiased)
            show(number + 1, f'scene {number + 1}')


def _asked(
    clip: SimulatedClip, seed: int, config: PenguinConfig, model: LoadedModel, is_debiased: bool
) -> Iterator[JudgedScore]:
    items = [item for item in clip.questions if item.answer in CHOICES.get(item.kind, ())]
    if not items:
        return
    seen = Clip(
        CAMERA,
        tuple(
            Frame(round(stamp * NANOSECONDS), image, CAMERA)
            for stamp, image in zip(clip.stamps, clip.frames, strict=True)
        ),
    )
    preprocessor = model.preprocessor(config.visual)
    prompts = run_to_end(preprocessor.questions_steps(seen, [item.question for item in items]))
    questions = [
        ScoredQuestion(inputs, _choices(item.kind), is_debiased=is_debiased, temperature=1.0)
        for inputs, item in zip(prompts, items, strict=True)
    ]
    chunk = config.model.prefill_chunk or model.backend.description.prefill_chunk
    scores = run_to_end(model.scorer.score(model.caches, questions, chunk))
    for item, score in zip(items, scores, strict=True):
        yield JudgedScore(seed, item.kind, score, CHOICES[item.kind].index(item.answer))


def _choices(kind: str) -> tuple[str, ...]:
    """Returns what a question of a kind is scored with; none are given for yes or no."""
    return () if kind == YES_NO_KIND else CHOICES[kind]
