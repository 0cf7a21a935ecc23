# SPDX-License-Identifier: Apache-2.0
"""Asks a model about simulated scenes, through the pipeline that the node uses. Knows nothing of tables and intervals.

All questions about a scene are asked on the clip that the caption was asked on, so that its frames are encoded and its prompt
is computed once.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from penguin_ros.cli.offline_runner import CAMERA, OfflineRunner
from penguin_ros.cli.score import Course
from penguin_ros.cli.score_records import CAPTION, Record
from penguin_ros.cli.terminal import progress_bar
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.pipeline_status import ModelFacts
from penguin_ros.request import Answer
from penguin_ros.simulation.clips import HELD_OUT, SimulatedClip, make_clip
from penguin_ros.simulation.scoring import score_answer, score_caption
from penguin_ros.simulation.world import World

GAP_S = 60.0
"""Camera time between two clips, longer than the buffer remembers."""
GREY = 128


@dataclass(frozen=True)
class ScoreRun:
    """`records` in the order of asking."""

    records: tuple[Record, ...]
    facts: ModelFacts


def score_all(course: Course, config: PenguinConfig) -> ScoreRun:
    """Everything of the course; BackendUnavailable where scenes cannot be drawn, and what opening a model raises."""
    frames, records = clip_frames(config), list[Record]()
    with World(course.width, course.height) as world, OfflineRunner(config) as runner:
        now_s = GAP_S
        with progress_bar('scenes', course.scenes) as show:
            for number, seed in enumerate(HELD_OUT[course.skip:course.skip + course.scenes]):
                clip = make_clip(world, seed, course.level, frames, config.clip.fps, course.questions)
                records += _asked(runner, clip, seed, now_s, course.is_blind_too)
                now_s += 2 * GAP_S + 2 * config.clip.seconds
                show(number + 1, f'scene {number + 1}')
        assert runner.facts is not None
        return ScoreRun(tuple(records), runner.facts)


def clip_frames(config: PenguinConfig) -> int:
    """Frames of a clip as the node would take it; SettingError when fewer than two, which show no motion."""
    frames = min(config.clip.max_frames, round(config.clip.seconds * config.clip.fps))
    if frames < 2:
        raise SettingError('clips of one frame', 'nothing moves in them', 'Raise --clip-seconds or --fps')
    return frames


def _asked(runner: OfflineRunner, clip: SimulatedClip, seed: int, now_s: float, is_blind_too: bool) -> Iterator[Record]:
    caption = runner.caption(_frames(clip, clip.frames, now_s))
    answers = [runner.ask(item.question) for item in clip.questions]
    blind = [''] * (len(answers) + 1)
    if is_blind_too:
        grey = np.full_like(clip.frames, GREY)
        blind = [runner.caption(_frames(clip, grey, now_s + GAP_S + clip.stamps[-1])).text,
                 *(runner.ask(item.question).text for item in clip.questions)]
    facts = score_caption(caption.text, clip.truth)
    yield Record(seed, CAPTION, caption.question, clip.caption, caption.text, facts.right, facts.claimed, facts.wanted, blind[0],
                 _error(caption))
    for item, answer, without in zip(clip.questions, answers, blind[1:], strict=True):
        right = answer.error is None and score_answer(answer.text, item.answer)
        yield Record(seed, item.kind, item.question, item.answer, answer.text, int(right), 1, 1, without, _error(answer))


def _frames(clip: SimulatedClip, pictures: np.ndarray, now_s: float) -> list[Frame]:
    return [Frame(round((now_s + stamp) * NANOSECONDS), picture, CAMERA)
            for stamp, picture in zip(clip.stamps, pictures, strict=True)]


def _error(answer: Answer) -> str:
    return '' if answer.error is None else f'{type(answer.error).__name__}: {answer.error}'
