# SPDX-License-Identifier: Apache-2.0
"""The cases of one clip: cold, more questions, frames appended, slid. Knows windows and texts;
judges nothing.

Each case is made with what is kept, then without; the logits of both are compared and dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from penguin_ros.benchmark.live.drafts import pass_costs
from penguin_ros.benchmark.live.scenes import CAMERA, clip_images, framed, further_images
from penguin_ros.benchmark.live.tasks import Record
from penguin_ros.benchmark.live.texts import Samples, Text, TextBench
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
"""Frames appended at once, of all FRAMES; a slow model computes only some of these clips anew: all
cost what a cold one does.
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
"""So that clips of this file are neither cut nor begun anew, whatever the settings of a live camera
are.
"""


class CaseTable:
    """Both sides of each case over the rounds, in the order of the first round."""

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, list[Samples]]] = {}
        self._agreements: dict[str, list[Agreement]] = {}

    def add(self, name: str, reuse: Text, recompute: Text | None, rounding: float | None) -> None:
        """One more round of a case; without the second side where it is not computed anew."""
        targets = self._targets.setdefault(name, {'reuse': [], 'recompute': []})
        targets['reuse'].append(reuse.samples)
        if recompute is not None:
            targets['recompute'].append(recompute.samples)
            self._agreements.setdefault(name, []).append(
                agreement(reuse.tokens, recompute.tokens, rounding or 0.0)
            )

    def records(self) -> list[Record]:
        """Medians by side, and the worst agreement."""
        return [
            {
                'name': name,
                **{target: medians(rounds) for target, rounds in targets.items()},
                'agreement': plain(worst(self._agreements.get(name, []))),
            }
            for name, targets in self._targets.items()
        ]


def medians(rounds: Sequence[Samples]) -> Samples | None:
    """Of each value; None of no round."""
    return (
        {name: float(np.median([each[name] for each in rounds])) for name in rounds[0]}
        if rounds
        else None
    )


def plain(found: Agreement | None) -> Record | None:
    """For JSON; a difference that is no number becomes -1."""
    if found is None:
        return None
    return {
        **asdict(found),
        'logit_difference': found.logit_difference if np.isfinite(found.logit_difference) else -1.0,
    }


def ending_short(prompt_tokens: int, most: int) -> int:
    """A size of chunks below `most` whose last one is as short as what a question adds to a known
    clip, or nearly: small passes may be computed by other kernels than large ones.
    """
    sizes = [
        size for size in range(most // 2, most) if size and prompt_tokens % size <= SHORT_CHUNK
    ]
    return max(sizes, key=lambda size: (prompt_tokens % size, size), default=max(1, most // 2))


class Clips:
    """The cases; `rounding` of the bench is set by the first one."""

    def __init__(self, bench: TextBench) -> None:
        self._bench = bench
        self._table = CaseTable()

    def warm_up(self) -> float:
        """Brings weights and working memory in; seconds that a clip of two small frames then takes
        to its first token.
        """
        found = windowed(self._bench, 'growing', framed(clip_images(2, SMALL), FPS))
        texts = [
            self._bench.text(self._bench.plain, found, QUESTIONS[0], limits={'max_tokens': 2})
            for _ in range(2)
        ]
        return texts[-1].samples['first_token_s']

    def clip(self, rounds: int) -> Record:
        """Growing: cold, questions, appended frames; and what passes over several positions cost."""
        costs: list[dict[int, float]] = []
        for _ in range(rounds):
            with self._bench.kept() as reuse:
                cold = self._cold('cold clip', reuse, self._clip('growing', FRAMES))
                self._questions(reuse)
                costs.append(pass_costs(reuse, cold.inputs))
                self._append(reuse)
        return {
            'cases': self._taken(),
            'pass_s': {
                str(rows): float(np.median([each[rows] for each in costs])) for rows in costs[0]
            },
        }

    def slide(self, rounds: int) -> Record:
        """Sliding: cold with frames of one size, then the same less its oldest, more one."""
        for _ in range(rounds):
            with self._bench.kept() as reuse:
                self._cold(
                    f'cold clip, {FRAMES} equal frames', reuse, self._clip('sliding', FRAMES)
                )
                slid = self._clip('sliding', FRAMES + 1)
                if len(slid.clip.frames) != FRAMES:
                    raise SettingError(
                        f'clips of {len(slid.clip.frames)} frames',
                        f'{FRAMES} do not fit in the budget',
                        'Raise visual.max_visual_tokens',
                    )
                self._both(f'slide by 1 of {FRAMES}', reuse, slid, QUESTIONS[0])
        return {'cases': self._taken()}

    def _cold(self, name: str, reuse: Caches, found: ChosenClip) -> Text:
        """Both sides are cold. How far rounding goes is seen, the first time, in chunks of another
        size, nothing kept there either: what is on trial must not be what it is judged by.
        """
        bench = self._bench
        ours, reference = (bench.text(each, found, QUESTIONS[0]) for each in (reuse, bench.plain))
        if bench.rounding is None:
            chunk = ending_short(
                len(ours.inputs.prompt.token_ids), bench.config.model.prefill_chunk
            )
            other = bench.text(bench.plain, found, QUESTIONS[0], limits={'prefill_chunk': chunk})
            bench.rounding = agreement(other.tokens, reference.tokens).logit_difference
        self._table.add(name, ours, reference, bench.rounding)
        return ours

    def _questions(self, reuse: Caches) -> None:
        found = self._clip('growing', FRAMES)
        for index, question in enumerate(QUESTIONS):
            if index in RECOMPUTED:
                self._both(RECOMPUTED[index], reuse, found, question)
            elif index:
                self._bench.text(reuse, found, question)

    def _append(self, reuse: Caches) -> None:
        for count in APPENDED:
            known = FRAMES - count
            new = framed(further_images(count, count, self._bench.task.size), FPS, known)
            found = windowed(self._bench, 'growing', (*self._frames(known), *new))
            is_recomputed = not self._bench.is_slow or count in RECOMPUTED_SLOW
            self._both(f'append {count} to {known}', reuse, found, QUESTIONS[0], is_recomputed)

    def _both(
        self, name: str, reuse: Caches, found: ChosenClip, question: str, is_recomputed: bool = True
    ) -> None:
        bench = self._bench
        ours = bench.text(reuse, found, question)
        self._table.add(
            name,
            ours,
            bench.text(bench.plain, found, question) if is_recomputed else None,
            bench.rounding,
        )

    def _clip(self, policy: str, count: int) -> ChosenClip:
        return windowed(self._bench, policy, self._frames(count))

    def _frames(self, count: int) -> tuple[Frame, ...]:
        return framed(clip_images(count, self._bench.task.size), FPS)

    def _taken(self) -> list[Record]:
        records, self._table = self._table.records(), CaseTable()
        return records


def windowed(
    bench: TextBench,
    policy: str,
    frames: Sequence[Frame],
    further: Mapping[str, Value] | None = None,
) -> ChosenClip:
    """The clip that a camera's window of that policy gives after `frames`, one after the other;
    `further` settings.
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
