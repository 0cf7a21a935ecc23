# SPDX-License-Identifier: Apache-2.0
"""A question while a caption runs, through the pipeline of the node and its worker thread.

The question is asked at the very beginning of a step of the caption, on the worker thread, so that
it waits for the whole step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue

import numpy as np

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.benchmark.live.clips import FPS, FRAMES, WIDE
from penguin_ros.benchmark.live.probe import DECODE, ENCODE, Choice, ProbedBackend
from penguin_ros.benchmark.live.scenes import CAMERA, clip_images, framed, further_images
from penguin_ros.benchmark.live.tasks import JsonObject, LiveTask
from penguin_ros.benchmark.live.texts import ROUNDS, live_config
from penguin_ros.config import ModelConfig, PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.agreement import parting
from penguin_ros.frame import Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Request
from penguin_ros.requests.loaded_model import Model
from penguin_ros.settings import Value, with_values

ANSWER_TOKENS, CAPTION_TOKENS = 8, 24
ANSWER_LIMIT_S = 600.0
SLOW_S = 10.0
"""A model that takes longer to start is measured in fewer rounds, unless more are asked for."""

CONFIG: Mapping[str, Value] = {
    **WIDE,
    'clip.window': 'growing',
    'clip.precompute': 'off',
    'caption.deadline': 3600.0,
    'caption.max_preemption': 3600.0,
    'question.deadline': 3600.0,
    'generation.draft_tokens': 0,
    'generation.max_repeats': 0,
    'caption.max_tokens': CAPTION_TOKENS,
    'question.max_tokens': ANSWER_TOKENS,
}
"""Settings under which nothing runs but what is measured, each token is a step, and nothing misses
a deadline.
"""


@dataclass(eq=False)
class NumberedQuestions:
    """Makes questions with a running number, so that no two are the same and all have about the
    same length.
    """

    number: int = 100

    def __call__(self) -> str:
        self.number += 1
        return f'What is moving now, and which way? ({self.number})'


class Interruptions:
    """One pipeline, and a camera that shows another frame when it is told to."""

    def __init__(self, config: PenguinConfig, task: LiveTask) -> None:
        self._task = task
        self._probes: list[ProbedBackend] = []
        self._now_ns = 0
        self._question = NumberedQuestions()
        self._frames: list[Frame] = []
        self.pipeline = Pipeline(
            config, [CAMERA], now_ns=lambda: self._now_ns, backend_factory=self._probed
        )

    def begin(self) -> None:
        """Shows a clip and warms up; what is measured next finds the clip in the caches."""
        self._show(FRAMES)
        self._caption()
        self.measured(1)

    def measured(self, rounds: int) -> list[JsonObject]:
        """Measures both phases of a caption in which a question may come."""
        return [
            self._phase('while it decodes', DECODE, rounds, 0),
            self._phase('while it encodes a new frame', ENCODE, rounds, 1),
        ]

    def _phase(self, name: str, phase: str, rounds: int, new_frames: int) -> JsonObject:
        """Measures the first token: `idle_s` on an engine with nothing else to do in the same
        state, `busy_s` with a caption in that phase. `step_s` is the longest call of the backend
        meanwhile.
        """
        found = [self._round(phase, new_frames) for _ in range(rounds)]
        medians = {
            key: float(np.median([each[key] for each in found]))
            for key in ('idle_s', 'busy_s', 'step_s', 'wait_s')
        }
        compared = [each['same'] for each in found if each['same']]
        return {
            'name': name,
            **medians,
            'rounds': found,
            'asked': len(compared),
            'same': min(compared, key=lambda same: same['tokens'] - same['of'], default=None),
        }

    def _round(self, phase: str, new_frames: int) -> JsonObject:
        self._show(new_frames)
        idle = self._answer(self._question())
        self._show(new_frames)
        probe = self._probes[0]
        question = self._question()
        probe.choices = during = list[Choice]()
        busy = self._interrupted(phase, question)
        step_s = probe.longest_s
        probe.choices = alone = list[Choice]()
        self._answer(question)
        probe.choices = None
        evidence = busy.evidence if busy is not None else idle.evidence
        return {
            'idle_s': idle.evidence.first_token_ns / 1e9,
            'busy_s': evidence.first_token_ns / 1e9,
            'wait_s': evidence.wait_ns / 1e9,
            'step_s': step_s,
            'same': same_tokens(during, alone) if busy is not None else None,
        }

    def _interrupted(self, phase: str, question: str) -> Answer | None:
        """Asks a question within a step of a caption and returns its answer; None when the caption
        had no such step.
        """
        probe = self._probes[0]
        answers = SimpleQueue[Answer]()
        failures: list[BaseException] = []

        def ask(called: str) -> None:
            if called == phase:
                probe.on_call = None
                probe.longest_s = 0.0
                try:
                    self.pipeline.submit(Request('', question, camera=CAMERA), answers.put)
                except PenguinError as error:
                    failures.append(error)

        probe.on_call = ask
        self._caption()
        is_asked = probe.on_call is None
        probe.on_call = None
        if failures:
            raise failures[0]
        return _waited(answers) if is_asked else None

    def _show(self, count: int) -> None:
        """Shows `count` more frames, each with another image."""
        for _ in range(count):
            number = len(self._frames)
            image = (
                clip_images(FRAMES, self._task.size)[number]
                if number < FRAMES
                else further_images(number, 1, self._task.size)[0]
            )
            frame = framed([image], FPS, number)[0]
            self._now_ns = frame.stamp_ns
            self._frames.append(frame)
            self.pipeline.add_frame(frame)

    def _answer(self, question: str) -> Answer:
        answers: SimpleQueue[Answer] = SimpleQueue()
        self.pipeline.submit(Request('', question, camera=CAMERA), answers.put)
        return _waited(answers)

    def _caption(self) -> Answer:
        answers: SimpleQueue[Answer] = SimpleQueue()
        self.pipeline.submit_caption(CAMERA, answers.put)
        return _waited(answers)

    def _probed(self, config: ModelConfig, model: Model) -> Backend:
        self._probes.append(ProbedBackend(make_backend(config, model)))
        return self._probes[0]


def interrupt_record(task: LiveTask) -> JsonObject:
    """Opens a pipeline on the model, measures and closes it; raises what any of that raises."""
    target = replace(task.target, settings={**task.target.settings, **CONFIG})
    config = with_values(live_config(target), {'visual.max_visual_tokens': 16384})
    bench = Interruptions(config, task)
    facts = bench.pipeline.open(progress=status_line)
    try:
        bench.pipeline.activate()
        start = time.perf_counter()
        bench.begin()
        is_slow = time.perf_counter() - start > SLOW_S
        return {
            'facts': asdict(facts),
            'interrupt': bench.measured(task.rounds or (2 if is_slow else ROUNDS)),
        }
    finally:
        bench.pipeline.close(10.0)


def same_tokens(during: Sequence[Choice], alone: Sequence[Choice]) -> JsonObject:
    """How many `tokens` of the answer that was made `alone` came `during` a caption too, `of` how
    many, and the margin of the first one that did not, None when all did.

    Of the slots that were used during the caption, the answer's is the one that agrees most.
    """
    ids = [choice.token_id for choice in alone]
    leads = [choice.margin for choice in alone]
    texts = [
        [choice.token_id for choice in during if choice.slot == slot]
        for slot in {choice.slot for choice in during}
    ]
    partings = [parting(text[: len(ids)], ids, leads) for text in texts or [[]]]
    best = max(partings, key=lambda each: each.shared)
    return {'tokens': best.shared, 'of': len(ids), 'margin': best.margin}


def _waited(answers: SimpleQueue[Answer]) -> Answer:
    """Waits until the answer is complete; raises its error."""
    try:
        answer = answers.get(timeout=ANSWER_LIMIT_S)
    except Empty:
        raise PenguinError(
            'the pipeline gave no answer', f'waited {ANSWER_LIMIT_S:.0f} s'
        ) from None
    if answer.error is not None:
        raise answer.error
    return answer
