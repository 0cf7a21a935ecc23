# SPDX-License-Identifier: Apache-2.0
"""The cases of one clip: a cold one, more questions on it, frames appended, and a slide.

Each case is made with what is kept, then without; the logits of both are compared and dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from penguin_ros.benchmark.live.drafts import pass_costs
from penguin_ros.benchmark.live.scenes import CAMERA, clip_images, framed, further_images
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.benchmark.live.texts import Samples, TextBench, TimedText
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.agreement import Agreement, agreement, worst
from penguin_ros.frame import Frame
from penguin_ros.generation.caches import Caches
from penguin_ros.settings import Value, with_values
from penguin_ros.steps import run_to_end
from penguin_ros.window.camera import Camera
from penguin_ros.window.camera_window import ChosenClip

FRAMES, FPS = 8, 2.0
SMALL = 168, 112
SHORT_CHUNK = 25
APPENDED = tuple(range(1, 8))
RECOMPUTED_SLOW = (1, 7)
"""The numbers of frames, out of FRAMES, that are appended at once. With a slow model only some of
these clips are recomputed: each costs what a cold one does.
"""

QUESTIONS = (
    'What is moving, and which way?',
    'How many things are there?',
    'What colour is the thing that moves?',
    'Is anything standing still?',
    'Has anything left the picture?',
    'Where is the thing now?',
    'Is the light bright or dim?',
    'What is the largest thing?',
    'Does the camera move?',
    'Is anyone there?',
)
RECOMPUTED = {1: 'second question', 9: 'tenth question'}

WIDE: Mapping[str, Value] = {
    'clip.seconds': 4.0,
    'clip.fps': FPS,
    'clip.max_frames': 64,
    'clip.max_age': 3600.0,
    'buffer.seconds': 3600.0,
    'caption.gate': False,
}
"""Settings under which the clips of this file are neither cut nor restarted, whatever those of a
live camera are.
"""


class CaseTable:
    """Both variants of each case over the rounds, in the order of the first round."""

    def __init__(self) -> None:
        self._variants: dict[str, dict[str, list[Samples]]] = {}
        self._agreements: dict[str, list[Agreement]] = {}

    def add(
        self, name: str, reuse: TimedText, recompute: TimedText | None, rounding: float | None
    ) -> None:
        """Adds one more round of a case; `recompute` is None where it was not recomputed."""
        variants = self._variants.setdefault(name, {'reuse': [], 'recompute': []})
        variants['reuse'].append(reuse.samples)
        if recompute is not None:
            variants['recompute'].append(recompute.samples)
            self._agreements.setdefault(name, []).append(
                agreement(reuse.tokens, recompute.tokens, rounding or 0.0)
            )

    def records(self) -> list[JsonObject]:
        """The medians of both variants of each case, and their worst agreement."""
        return [
            {
                'name': name,
                **{variant: medians(rounds) for variant, rounds in variants.items()},
                'agreement': plain(worst(self._agreements.get(name, []))),
            }
            for name, variants in self._variants.items()
        ]


def medians(rounds: Sequence[Samples]) -> Samples | None:
    """The median of each value over the rounds; None without rounds."""
    return (
        {name: float(np.median([each[name] for each in rounds])) for name in rounds[0]}
        if rounds
        else None
    )


def plain(found: Agreement | None) -> JsonObject | None:
    """An agreement as plain values; a difference that is NaN or infinite becomes -1."""
    if found is None:
        return None
    return {
        **asdict(found),
        'logit_difference': found.logit_difference if np.isfinite(found.logit_difference) else -1.0,
    }


def ending_short(prompt_tokens: int, most: int) -> int:
    """A size of chunks below `most` whose last chunk is about as short as what a question adds to a
    known clip: small passes may be computed by other kernels than large ones.
    """
    sizes = [
        size for size in range(most // 2, most) if size and prompt_tokens % size <= SHORT_CHUNK
    ]
    return max(sizes, key=lambda size: (prompt_tokens % size, size), default=max(1, most // 2))


class ClipCases:
    """Runs the cases; the first one sets `rounding` of the bench."""

    def __init__(self, bench: TextBench) -> None:
        self._bench = bench
        self._table = CaseTable()

    def warm_up(self) -> float:
        """Brings weights and working memory in; returns the seconds that a clip of two small frames
        then takes to its first token.
        """
        found = windowed(self._bench, 'growing', framed(clip_images(2, SMALL), FPS))
        texts = [
            self._bench.text(self._bench.plain, found, QUESTIONS[0], limits={'max_tokens': 2})
            for _ in range(2)
        ]
        return texts[-1].samples['first_token_s']

    def clip(self, rounds: int) -> JsonObject:
        """Runs the cases of a growing window: cold, questions, appended frames. Also measures what
        passes over several positions cost.
        """
        costs: list[dict[int, float]] = []
        for _ in range(rounds):
            with self._bench.kept() as caches:
                cold = self._cold('cold clip', caches, self._clip('growing', FRAMES))
                self._questions(caches)
                costs.append(pass_costs(caches, cold.inputs))
                self._append(caches)
        return {
            'cases': self._taken(),
            'pass_s': {
                str(count): float(np.median([each[count] for each in costs])) for count in costs[0]
            },
        }

    def slide(self, rounds: int) -> JsonObject:
        """Runs the cases of a sliding window: cold with frames of one size, then the same clip
        without its oldest frame and with one more.
        """
        for _ in range(rounds):
            with self._bench.kept() as caches:
                self._cold(
                    f'cold clip, {FRAMES} equal frames', caches, self._clip('sliding', FRAMES)
                )
                slid = self._clip('sliding', FRAMES + 1)
                if len(slid.clip.frames) != FRAMES:
                    raise SettingError(
                        f'clips of {len(slid.clip.frames)} frames',
                        f'{FRAMES} do not fit in the budget',
                        'Raise visual.max_visual_tokens',
                    )
                self._both(f'slide by 1 of {FRAMES}', caches, slid, QUESTIONS[0])
        return {'cases': self._taken()}

    def _cold(self, name: str, caches: Caches, found: ChosenClip) -> TimedText:
        """Makes a cold clip in both variants. The first time it also measures how far rounding
        goes, in chunks of another size and without caches: what is on trial must not be the judge.
        """
        bench = self._bench
        ours = bench.text(caches, found, QUESTIONS[0])
        reference = bench.text(bench.plain, found, QUESTIONS[0])
        if bench.rounding is None:
            size = (
                bench.config.model.prefill_chunk or bench.loaded.backend.description.prefill_chunk
            )
            chunk = ending_short(len(ours.inputs.prompt.token_ids), size)
            other = bench.text(bench.plain, found, QUESTIONS[0], limits={'prefill_chunk': chunk})
            bench.rounding = agreement(other.tokens, reference.tokens).logit_difference
        self._table.add(name, ours, reference, bench.rounding)
        return ours

    def _questions(self, caches: Caches) -> None:
        found = self._clip('growing', FRAMES)
        for index, question in enumerate(QUESTIONS):
            if index in RECOMPUTED:
                self._both(RECOMPUTED[index], caches, found, question)
            elif index:
                self._bench.text(caches, found, question)

    def _append(self, caches: Caches) -> None:
        for count in APPENDED:
            known = FRAMES - count
            new = framed(further_images(count, count, self._bench.task.size), FPS, known)
            found = windowed(self._bench, 'growing', (*self._frames(known), *new))
            is_recomputed = not self._bench.is_slow or count in RECOMPUTED_SLOW
            self._both(f'append {count} to {known}', caches, found, QUESTIONS[0], is_recomputed)

    def _both(
        self,
        name: str,
        caches: Caches,
        found: ChosenClip,
        question: str,
        is_recomputed: bool = True,
    ) -> None:
        bench = self._bench
        ours = bench.text(caches, found, question)
        recomputed = bench.text(bench.plain, found, question) if is_recomputed else None
        self._table.add(name, ours, recomputed, bench.rounding)

    def _clip(self, policy: str, count: int) -> ChosenClip:
        return windowed(self._bench, policy, self._frames(count))

    def _frames(self, count: int) -> tuple[Frame, ...]:
        return framed(clip_images(count, self._bench.task.size), FPS)

    def _taken(self) -> list[JsonObject]:
        """Returns the records of the table and starts a new one."""
        records = self._table.records()
        self._table = CaseTable()
        return records


def windowed(
    bench: TextBench,
    policy: str,
    frames: Sequence[Frame],
    further: Mapping[str, Value] | None = None,
) -> ChosenClip:
    """The clip that a camera's window of that policy gives after `frames` came one by one, under
    WIDE and `further` settings.
    """
    config = with_values(bench.config, {**WIDE, 'clip.window': policy, **(further or {})})
    now_ns = [0]
    camera = Camera(CAMERA, config, lambda: now_ns[0], time.monotonic_ns)
    rules = bench.loaded.window_rules(config)
    found = None
    for frame in frames:
        now_ns[0] = frame.stamp_ns
        camera.add(frame)
        found = run_to_end(camera.present_clip(rules))
    assert found is not None
    return found
