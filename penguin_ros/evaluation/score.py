# SPDX-License-Identifier: Apache-2.0
"""Asks a model about simulated scenes, whose truth is known, through the pipeline of the node.

All questions about a scene are asked about the clip that the caption is of, so that its frames are
encoded once and its prompt is computed once. What was asked and answered is kept in one record
each, in memory and as lines of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from penguin_ros.atomic_file import write_text
from penguin_ros.config import PenguinConfig
from penguin_ros.console import progress_bar
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import CAMERA, OfflineRunner
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.request import Answer
from penguin_ros.simulation.clips import HELD_OUT, SimulatedClip, make_clip
from penguin_ros.simulation.scoring import score_answer, score_caption
from penguin_ros.simulation.world import World

CAPTION = 'caption'
"""The kind of a record that is a caption; all others are kinds of questions."""


GAP_S = 60.0
"""Camera time between two clips, longer than the buffer remembers."""
GREY = 128


@dataclass(frozen=True)
class Suite:
    """What is asked: about the first `scenes` held-out seeds from `skip` on, of a `level`, at most
    `questions` each, drawn at `width` x `height`. With `is_blind_too` everything is asked again
    about grey images.
    """

    scenes: int
    skip: int
    level: int
    questions: int
    width: int
    height: int
    is_blind_too: bool


@dataclass(frozen=True)
class ScoredAnswer:
    """One question, or one caption, about one scene.

    A question has `right` 0 or 1, of `wanted` 1. A caption has facts: `right` of those `claimed`
    are true, and `wanted` should be told. `blind` is what the same model answered to grey images,
    '' where it was not asked; `error` says why there is no answer.
    """

    seed: int
    kind: str
    question: str
    expected: str
    given: str
    right: int
    claimed: int
    wanted: int
    blind: str = ''
    error: str = ''


def write_records(path: Path, records: Iterable[ScoredAnswer]) -> None:
    """Writes one JSON object per line; PenguinError when that fails."""
    lines = (json.dumps(asdict(record), ensure_ascii=False) + '\n' for record in records)
    write_text(path, ''.join(lines))


def read_records(path: Path) -> list[ScoredAnswer]:
    """Reads what `write_records` wrote; SettingError for anything else."""
    try:
        return [
            ScoredAnswer(**json.loads(line))
            for line in path.read_text(encoding='utf-8').splitlines()
        ]
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(
            f'cannot use {path}', str(error), 'Give a file that penguin score wrote with --answers'
        ) from error


@dataclass(frozen=True)
class ScoreRun:
    """What a model was asked and answered, in the order of asking, and what model it is."""

    records: tuple[ScoredAnswer, ...]
    facts: ModelDescription


def score_all(suite: Suite, config: PenguinConfig) -> ScoreRun:
    """Asks everything of the suite. Raises BackendUnavailable where scenes cannot be drawn, and
    what opening a model raises.
    """
    frames = clip_frames(config)
    records: list[ScoredAnswer] = []
    with World(suite.width, suite.height) as world, OfflineRunner(config) as runner:
        now_s = GAP_S
        with progress_bar('scenes', suite.scenes) as show:
            for number, seed in enumerate(HELD_OUT[suite.skip : suite.skip + suite.scenes]):
                clip = make_clip(world, seed, suite.level, frames, config.clip.fps, suite.questions)
                records += _asked(runner, clip, seed, now_s, suite.is_blind_too)
                now_s += 2 * GAP_S + 2 * config.clip.seconds
                show(number + 1, f'scene {number + 1}')
        assert runner.facts is not None
        return ScoreRun(tuple(records), runner.facts)


def clip_frames(config: PenguinConfig) -> int:
    """The number of frames of a clip as the node would take it; SettingError when there are fewer
    than two, which show no motion.
    """
    frames = min(config.clip.max_frames, round(config.clip.seconds * config.clip.fps))
    if frames < 2:
        raise SettingError(
            'clips of one frame', 'nothing moves in them', 'Raise --clip-seconds or --fps'
        )
    return frames


def _asked(
    runner: OfflineRunner, clip: SimulatedClip, seed: int, now_s: float, is_blind_too: bool
) -> Iterator[ScoredAnswer]:
    caption = runner.caption(_frames(clip, clip.frames, now_s))
    answers = [runner.ask(item.question) for item in clip.questions]
    blind = [''] * (len(answers) + 1)
    if is_blind_too:
        grey = np.full_like(clip.frames, GREY)
        blind = [
            runner.caption(_frames(clip, grey, now_s + GAP_S + clip.stamps[-1])).text,
            *(runner.ask(item.question).text for item in clip.questions),
        ]
    facts = score_caption(caption.text, clip.truth)
    yield ScoredAnswer(
        seed,
        CAPTION,
        caption.question,
        clip.caption,
        caption.text,
        facts.right,
        facts.claimed,
        facts.wanted,
        blind[0],
        _error(caption),
    )
    for item, answer, without in zip(clip.questions, answers, blind[1:], strict=True):
        right = answer.error is None and score_answer(answer.text, item.answer)
        yield ScoredAnswer(
            seed,
            item.kind,
            item.question,
            item.answer,
            answer.text,
            int(right),
            1,
            1,
            without,
            _error(answer),
        )


def _frames(clip: SimulatedClip, images: np.ndarray, now_s: float) -> list[Frame]:
    return [
        Frame(round((now_s + stamp) * NANOSECONDS), image, CAMERA)
        for stamp, image in zip(clip.stamps, images, strict=True)
    ]


def _error(answer: Answer) -> str:
    return '' if answer.error is None else f'{type(answer.error).__name__}: {answer.error}'
