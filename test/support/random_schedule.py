# SPDX-License-Identifier: Apache-2.0
"""Random cameras, questions, cancels and preemptions on one `Caches`; every generation is compared
with one that reuses nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from support.asked_alone import log_softmax, logits_alone

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import GenerationConfig, VisualConfig
from penguin_ros.errors import RequestCancelled
from penguin_ros.frame import Clip, Frame
from penguin_ros.generation.branches import BranchQuery, LogProbabilities, read_branches
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput, Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.precompute import precompute_features, precompute_prefix
from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.prompt import Message, TextPart, VideoPart
from penguin_ros.steps import run_to_end

MARGIN = 1e-3
"""With a lead of the chosen logit over the second below this, another choice is rounding."""

TOLERANCE = 1e-4
BRANCH_TOLERANCE = 1e-3
"""Of the logarithm of a probability, which a difference of logits shifts by as much."""

MAX_TOKENS = 6
QUESTIONS = ('What?', 'Who is it?', 'What is it?', 'Describe this.', '\n\nand now')
SIZES = ((56, 84), (84, 84), (56, 140))

Running = Generator[Step, None, None]


@dataclass(eq=False)
class Camera:
    """Holds the newest frames of a scene in which something moves now and then."""

    random: np.random.Generator
    size: tuple[int, int]
    frames: list[Frame] = field(default_factory=list)
    stamp_ns: int = 0

    def add(self, is_new_scene: bool = False) -> None:
        self.stamp_ns += int(self.random.integers(1, 20)) * 100_000_000
        if is_new_scene or not self.frames or self.random.random() < 0.15:
            image = np.kron(
                self.random.integers(0, 256, (self.size[0] // 14, self.size[1] // 14, 3)),
                np.ones((14, 14, 1)),
            ).astype(np.uint8)
        else:
            image = self.frames[-1].image.copy()
            top, left = (
                self.random.integers(0, self.size[0] - 9),
                self.random.integers(0, self.size[1] - 9),
            )
            image[top : top + 8, left : left + 8] = self.random.integers(0, 256, 3)
        self.frames.append(Frame(self.stamp_ns, image))

    def resize(self) -> None:
        self.size, self.frames = SIZES[self.random.integers(len(SIZES))], []
        self.add()


class Schedule:
    """`run` does random operations; `fresh` is another backend of the same model, which computes
    everything again. `rounding`: by how much what is within rounding is more than with float32.
    """

    def __init__(
        self,
        caches: Caches,
        fresh: Backend,
        model: Checkpoint | Bundle,
        seed: int,
        policy: str = 'fixed',
    ) -> None:
        self.caches, self._fresh, self._tokenizer = caches, fresh, model.tokenizer
        self.rounding = 1.0
        self._random = np.random.default_rng(seed)
        visual = VisualConfig(
            policy, max_visual_tokens=64, min_visual_tokens=1, key_tokens=12, intermediate_tokens=4
        )
        self._preprocessor = Preprocessor(model.shape, model.tokenizer, visual)
        self._cameras = [
            Camera(np.random.default_rng([seed, number]), SIZES[number % len(SIZES)])
            for number in range(3)
        ]
        for camera in self._cameras:
            camera.add()
        self._camera = self._cameras[0]
        self._turns: list[tuple[str, str]] = []
        self._expected: dict[bytes, tuple[list[int], np.ndarray]] = {}
        self.compared = self.tokens = self.accepted = self.branches = 0
        self.worst = 0.0

    def run(self, operations: int) -> None:
        """Does that many random operations, most of which are requests."""
        choices: dict[Callable[[], None], int] = {
            self._append: 4,
            self._slide: 2,
            self._ask: 6,
            self._talk: 2,
            self._show: 1,
            self._switch: 1,
            self._cancel: 3,
            self._interrupt: 6,
            self._read_branches: 3,
            self._precompute_features: 1,
            self._precompute_prefix: 2,
        }
        rare: dict[Callable[[], None], float] = {
            self._camera_resized: 0.02,
            self.caches.forget: 0.01,
        }
        weights = np.array(list(choices.values()), float) / sum(choices.values())
        for _ in range(operations):
            list(choices)[self._random.choice(len(choices), p=weights)]()
            for act, share in rare.items():
                if self._random.random() < share:
                    act()
            self._check_bounds()

    # --- what can happen --------------------------------------------------------------------------

    def _append(self) -> None:
        self._camera.add()
        if len(self._camera.frames) > 6:
            self._camera.frames = self._camera.frames[-2:]

    def _slide(self) -> None:
        self._camera.add(self._random.random() < 0.1)
        self._camera.frames = self._camera.frames[1:]

    def _switch(self) -> None:
        self._camera = self._cameras[self._random.integers(len(self._cameras))]

    def _camera_resized(self) -> None:
        self._camera.resize()

    def _ask(self) -> None:
        self._finish(*self._started(self._clip_inputs()))

    def _talk(self) -> None:
        """Adds a turn to a dialogue about a clip, or starts a new dialogue."""
        if len(self._turns) > 4 or self._random.random() < 0.3:
            self._turns, self._talked_about = [], Clip('', tuple(self._camera.frames))
        clip = getattr(self, '_talked_about', None) or Clip('', tuple(self._camera.frames))
        self._talked_about = clip
        self._turns.append(('user', self._question()))
        video = VideoPart(clip.seconds_from_start, len(clip.frames))
        messages = [
            Message(role, (video, TextPart(text)) if number == 0 else (TextPart(text),))
            for number, (role, text) in enumerate(self._turns)
        ]
        inputs = self._preprocessor.messages_inputs(messages, [clip.frames])
        generation = self._finish(*self._started(inputs))
        self._turns.append(('assistant', generation.text.replace('\ufffd', '?')))

    def _show(self) -> None:
        images = [
            self._camera.frames[index].image
            for index in self._random.integers(0, len(self._camera.frames), 2)
        ]
        self._finish(*self._started(self._preprocessor.images_inputs(images, self._question())))

    def _cancel(self) -> None:
        """Closes a generation, or throws into it, at a random step; what it gave until then must
        have been right.
        """
        inputs = self._clip_inputs()
        running, output, logits = self._started(inputs)
        self._advance(running, logits, int(self._random.integers(0, 25)))
        if self._random.random() < 0.5:
            running.close()
        else:
            with suppress(RequestCancelled, StopIteration):
                running.throw(RequestCancelled('no longer wanted'))
        self._compare(inputs, output.token_ids, logits)

    def _interrupt(self) -> None:
        """Preempts a caption at a random step while questions are answered; then it is resumed or
        given up.
        """
        inputs = self._clip_inputs()
        caption = self._started(inputs)
        for _ in range(self._random.integers(1, 3)):
            self._advance(caption[0], caption[2], int(self._random.integers(0, 25)))
            if self._random.random() < 0.7:
                self._ask()
            else:
                self._append()
                self._cancel()
        if self._random.random() < 0.7:
            self._finish(*caption, inputs)
        else:
            caption[0].close()
            self._compare(inputs, caption[1].token_ids, caption[2])

    def _read_branches(self) -> None:
        """Reads several questions about a clip as branches, maybe with a caption preempted
        meanwhile, and maybe given up in the middle.
        """
        texts = [self._question() for _ in range(self._random.integers(1, 5))]
        clip = Clip('', tuple(self._camera.frames))
        queries = [
            BranchQuery(inputs, self._random_contexts())
            for inputs in run_to_end(self._preprocessor.questions_steps(clip, texts))
        ]
        steps = read_branches(self.caches, queries, int(self._random.choice([5, 32, 256])))
        for _ in range(int(self._random.choice([2, 1000]))):
            try:
                next(steps)
            except StopIteration as end:
                for query, found in zip(queries, end.value, strict=True):
                    self._compare_branches(query, found)
                return
            if self._random.random() < 0.2:
                self._ask()
        steps.close()

    def _precompute_features(self) -> None:
        self._drive(precompute_features(self.caches, self._clip_inputs().frames))

    def _precompute_prefix(self) -> None:
        self._drive(
            precompute_prefix(
                self.caches, self._clip_inputs(), int(self._random.choice([3, 7, 64]))
            )
        )

    # --- how it is done ---------------------------------------------------------------------------

    def _drive(self, steps: Generator[None, None, int]) -> None:
        """Drives `steps` to the end or part of the way, maybe with a question in between."""
        for _ in itertools.islice(steps, int(self._random.choice([3, 10, 1000]))):
            if self._random.random() < 0.05:
                self._ask()
        steps.close()

    def _question(self) -> str:
        return str(self._random.choice(QUESTIONS))

    def _clip_inputs(self) -> ModelInputs:
        return self._preprocessor.clip_inputs(
            Clip('', tuple(self._camera.frames)), self._question()
        )

    def _started(self, inputs: ModelInputs) -> tuple[Running, GenerationOutput, list[np.ndarray]]:
        params = SamplingParams(
            int(self._random.integers(1, MAX_TOKENS + 1)),
            (),
            GenerationConfig(max_repeats=0),
            int(self._random.choice([5, 32, 256])),
            keep_logits=True,
        )
        history = self._history(inputs)
        output = self._new_output()
        self._inputs = inputs
        return (generate(self.caches, inputs, params, output, lambda: 0, history), output, [])

    def _random_contexts(self) -> dict[tuple[int, ...], list[int]]:
        """Returns contexts of which some begin with others, and tokens wanted behind them."""
        ids = self._random.integers(0, 300, 40)
        contexts = [()] + [tuple(ids[start : start + 3].tolist()) for start in (0, 0, 3, 6)]
        contexts += [contexts[1][:2], (*contexts[1], int(ids[9]))]
        kept = {context: ids[20:30].tolist() for context in contexts if self._random.random() < 0.7}
        return kept or {(): [1]}

    def _compare_branches(self, query: BranchQuery, found: LogProbabilities) -> None:
        """Compares with each context behind the prompt alone, computed anew."""
        assert found.keys() == query.wanted.keys()
        for context, got in found.items():
            alone = log_softmax(logits_alone(self._fresh, query.inputs, context)[-1])
            difference = float(np.abs(got - alone[list(query.wanted[context])]).max())
            self.worst = max(self.worst, difference)
            assert difference <= BRANCH_TOLERANCE * self.rounding, (
                f'{context} differs by {difference:.2e}'
            )
            self.branches += 1

    def _history(self, inputs: ModelInputs) -> PromptHistory | None:
        """Returns now and then a previous text that is nearly the one to come."""
        if self._random.random() < 0.5:
            return None
        previous = self._recomputed(inputs)[0].copy()
        previous[self._random.integers(len(previous))] = int(self._random.integers(0, 300))
        return PromptHistory(tuple(previous))

    def _new_output(self) -> GenerationOutput:
        return GenerationOutput(Detokenizer(self._tokenizer.token_bytes))

    def _advance(self, running: Iterable[Step], logits: list[np.ndarray], steps: int) -> None:
        for step in itertools.islice(running, steps):
            if step.logits is not None:
                logits += list(step.logits.reshape(-1, step.logits.shape[-1]))

    def _finish(
        self,
        running: Running,
        output: GenerationOutput,
        logits: list[np.ndarray],
        inputs: ModelInputs | None = None,
    ) -> GenerationOutput:
        inputs = inputs or self._inputs
        self._advance(running, logits, 10**6)
        assert output.stats.reused_tokens < len(inputs.prompt.token_ids)
        self.accepted += output.stats.accepted_tokens
        self._compare(inputs, output.token_ids, logits)
        return output

    def _compare(
        self, inputs: ModelInputs, token_ids: Iterable[int], logits: list[np.ndarray]
    ) -> None:
        """Compares with a generation that computes everything: the same tokens until a choice is
        within rounding, and logits.
        """
        expected_ids, expected = self._recomputed(inputs)
        for step, (token_id, got) in enumerate(zip(token_ids, logits, strict=True)):
            difference = float(
                np.linalg.norm(got - expected[step]) / np.linalg.norm(expected[step])
            )
            self.worst = max(self.worst, difference)
            limit = TOLERANCE * self.rounding
            assert difference <= limit, f'logits of step {step} differ by {difference:.2e}'
            second, first = np.partition(expected[step], -2)[-2:]
            if token_id != expected_ids[step]:
                assert first - second < MARGIN * self.rounding, (
                    f'another token at step {step}, whose margin is {first - second:.2e}'
                )
                break
            self.tokens += 1
        self.compared += 1

    def _recomputed(self, inputs: ModelInputs) -> tuple[list[int], np.ndarray]:
        key = inputs.prompt.token_ids.tobytes() + b''.join(frame.key for frame in inputs.frames)
        if key not in self._expected:
            params = SamplingParams(
                MAX_TOKENS, (), GenerationConfig(max_repeats=0), 64, keep_logits=True
            )
            output, logits = self._new_output(), list[np.ndarray]()
            steps = generate(Caches(self._fresh), inputs, params, output, lambda: 0)
            self._advance(steps, logits, 10**6)
            self._expected[key] = output.token_ids, np.stack(logits)
        return self._expected[key]

    def _check_bounds(self) -> None:
        counts, slots = self.caches.stats(), self.caches.backend.description.slots
        assert counts.encoder_cache.bytes <= counts.encoder_cache.max_bytes
        assert counts.prefix_cache.kept_slots <= slots
