# SPDX-License-Identifier: Apache-2.0
"""The probabilities of choices against brute force: each wording of each choice is appended to its
prompt and scored alone, with everything computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.asked_alone import logits_alone, text_probability
from support.reuse_runs import CountingBackend, question

from penguin_ros.backends.base.backend import Backend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.generation.caches import Caches
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.scoring.bias import KeptBiases, neutral_inputs
from penguin_ros.scoring.choice_score import MOST_BIAS, ChoiceScore
from penguin_ros.scoring.scorer import AnswerScorer, ScoredQuestion
from penguin_ros.steps import run_to_end

CHUNK = 256
INCLUDED = Path(__file__).resolve().parents[2] / 'engines' / 'penguin_sim'
CONFIG = ModelConfig(device='cpu', precision='float32', max_length=512, kv_slots=2, threads=1)
VISUAL = VisualConfig(max_visual_tokens=64, min_visual_tokens=1)
ALIKE = ('red', 'red cube', 'red cubes', 'Red', 'I cannot tell')


class Model:
    """A checkpoint on torch, and what scoring takes of it."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip('torch', reason='torch is not installed')
        from penguin_ros.backends.torch.backend import TorchBackend

        self.checkpoint: Checkpoint = open_checkpoint(folder)
        self.backend: Backend = TorchBackend(self.checkpoint, CONFIG)
        self.backend.open()
        self.encode = self.checkpoint.tokenizer.encode_text
        self.stops = self.checkpoint.shape.stop_token_ids
        self.scorer = AnswerScorer(self.encode, self.stops)
        self.caches = Caches(self.backend, 1 << 20, True)

    def inputs(self, *texts: str, frames: int = 3) -> list[ModelInputs]:
        """The prompts of questions about a clip of noise."""
        self.caches.prefix_cache.free_kept()  # brute force needs a slot
        random = np.random.default_rng(5)
        shown = [random.integers(0, 256, (56, 84, 3)).astype(np.uint8) for _ in range(frames)]
        clip = Clip('', tuple(Frame(n * NANOSECONDS, image) for n, image in enumerate(shown)))
        preprocessor = Preprocessor(self.checkpoint.shape, self.checkpoint.tokenizer, VISUAL)
        return run_to_end(preprocessor.questions_steps(clip, texts))

    def score(self, *questions: ScoredQuestion) -> list[ChoiceScore]:
        return run_to_end(self.scorer.score(self.caches, questions, CHUNK))

    def mass_alone(self, inputs: ModelInputs, wordings: set[str]) -> float:
        """The probability that the whole answer is one of these."""
        features = run_to_end(self.backend.encode(inputs.frames))
        return math.fsum(
            text_probability(self.backend, inputs, self.encode(text), self.stops, features)
            for text in wordings
        )


@pytest.fixture(
    scope='module', params=['golden', 'included', pytest.param('random', marks=pytest.mark.slow)]
)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    if request.param == 'golden':
        folder = request.getfixturevalue('golden_dir') / 'checkpoint'
    else:
        tiny = 'tiny_checkpoint'
        folder = INCLUDED if request.param == 'included' else request.getfixturevalue(tiny)
    made = Model(folder)
    yield made
    made.backend.close()


def wordings_of(choices: tuple[str, ...], choice: str) -> set[str]:
    """The text as it stands, and with either first letter and with or without a full stop, unless
    that is another choice's text; of two choices that share one, it is the first one's.
    """
    taken = set(choices)
    for each in choices:
        found = {
            first + each[1:] + stop
            for first in (each[0].lower(), each[0].upper())
            for stop in ('', '.')
        }
        mine = {each} | (found - taken)
        taken |= mine
        if each == choice:
            return mine
    raise AssertionError(choice)


def test_each_choice_has_the_mass_of_its_wordings_scored_alone(model: Model) -> None:
    questions = model.inputs('What is it?', '\n what colour')
    scores = model.score(*(ScoredQuestion(each, ALIKE) for each in questions))
    model.caches.prefix_cache.free_kept()
    for inputs, score in zip(questions, scores, strict=True):
        assert score.choices == ALIKE
        alone = [model.mass_alone(inputs, wordings_of(ALIKE, choice)) for choice in ALIKE]
        for mass, expected in zip(score.log_masses, alone, strict=True):
            assert mass == pytest.approx(math.log(expected), abs=2e-3)
        expected_probabilities = np.array(alone) / sum(alone)
        assert score.probabilities == pytest.approx(expected_probabilities, abs=1e-3)
        assert score.other_mass == pytest.approx(1 - sum(alone), abs=1e-3)


def test_yes_is_the_mass_of_answers_that_begin_with_it(model: Model) -> None:
    questions = model.inputs('Is there a red box?', 'Is it dark?')
    scores = model.score(*map(ScoredQuestion, questions))
    model.caches.prefix_cache.free_kept()
    for inputs, score in zip(questions, scores, strict=True):
        begun = {}
        for word in ('yes', 'no'):
            texts = {s + w for s in ('', ' ') for w in (word, word.capitalize(), word.upper())}
            sequences = {tuple(model.encode(text)) for text in texts}
            begun[word] = math.fsum(
                text_probability(model.backend, inputs, each) for each in sequences
            )
        assert score.probability_of('yes') == pytest.approx(
            begun['yes'] / (begun['yes'] + begun['no']), abs=1e-3
        )
        assert score.other_mass == pytest.approx(1 - begun['yes'] - begun['no'], abs=1e-3)


def test_the_answer_that_is_generated_is_the_one_with_the_greatest_mass(model: Model) -> None:
    """One choice is what the model says by itself; its mass is that of these very tokens."""
    inputs = model.inputs('What is it?')[0]
    said: list[int] = []
    for _ in range(6):
        said.append(int(logits_alone(model.backend, inputs, said)[-1].argmax()))
        if said[-1] in model.stops:
            break
    text = model.checkpoint.tokenizer.decode(said[:-1] if said[-1] in model.stops else said)
    if said[-1] not in model.stops or model.encode(text) != said[:-1] or not text.strip():
        pytest.skip('this model says nothing that ends')
    score = model.score(ScoredQuestion(inputs, (text, 'something else entirely')))[0]
    assert score.choice == text


def test_what_cannot_be_told_is_read_beside_the_choices(model: Model) -> None:
    inputs = model.inputs('What is it?')[0]
    without, score = model.score(
        ScoredQuestion(inputs, ('red', 'blue')),
        ScoredQuestion(inputs, ('red', 'blue'), has_cannot_tell=True),
    )
    assert without.cannot_tell == 0 and score.log_masses == pytest.approx(without.log_masses)
    expected = math.exp(score.cannot_tell_log_mass)
    assert 0 < expected < 1
    assert score.other_mass == pytest.approx(max(0, without.other_mass - expected), abs=1e-6)
    model.caches.prefix_cache.free_kept()
    some = model.mass_alone(inputs, {'I cannot see that.', 'I cannot see that', 'Unknown.'})
    assert expected > some * 0.999


def test_a_debiased_question_subtracts_what_it_gets_on_grey_frames(model: Model) -> None:
    inputs = model.inputs('Is there a red box?')[0]
    raw, debiased = model.score(ScoredQuestion(inputs), ScoredQuestion(inputs, is_debiased=True))
    model.caches.prefix_cache.free_kept()
    grey = model.score(ScoredQuestion(neutral_inputs(inputs)))[0]
    assert raw.bias == () and debiased.bias == pytest.approx(grey.log_masses, abs=1e-3)
    odds = [each[0] - each[1] for each in (raw.log_masses, grey.log_masses)]
    shift = max(-2 * MOST_BIAS, min(2 * MOST_BIAS, odds[1]))
    expected = 1 / (1 + math.exp(shift - odds[0]))
    assert debiased.probability_of('yes') == pytest.approx(expected, abs=1e-3)
    assert debiased.raw_probability_of('yes') == pytest.approx(raw.probability_of('yes'))


def test_more_choices_than_a_slot_has_room_for_are_read_in_parts(model: Model) -> None:
    inputs = model.inputs('How many things are there, and of which colour is each of them?')[0]
    many = tuple(f'{number} things of the colour number {number * 7919}' for number in range(64))
    score = model.score(ScoredQuestion(inputs, many))[0]
    few = model.score(ScoredQuestion(inputs, many[40:42]))[0]
    assert score.log_masses[40:42] == pytest.approx(few.log_masses, abs=2e-3)
    assert math.fsum(score.probabilities) == pytest.approx(1)


# --- what is kept, on a backend that counts -------------------------------------------------------


@pytest.fixture
def counting() -> Iterator[CountingBackend]:
    backend = CountingBackend()
    backend.open()
    yield backend
    backend.close()


def letters(text: str) -> list[int]:
    return [ord(character) % 128 for character in text]


def test_questions_about_one_clip_share_its_prefill(counting: CountingBackend) -> None:
    scorer, caches = AnswerScorer(letters, (3,)), Caches(counting, 1 << 20, True)
    asked = [ScoredQuestion(question(*range(20 + n, 26 + n)), ('ab', 'cd')) for n in range(4)]
    run_to_end(scorer.score(caches, asked, CHUNK))
    shared = asked[0].inputs.prompt.image_starts[-1] + asked[0].inputs.frames[-1].tokens
    assert counting.computed == shared and len(counting.encoded) == 2
    run_to_end(scorer.score(caches, asked, CHUNK))
    assert counting.computed == shared and len(counting.encoded) == 2


def test_what_a_question_gets_on_a_neutral_clip_is_read_once(counting: CountingBackend) -> None:
    scorer, caches = AnswerScorer(letters, (3,)), Caches(counting, 1 << 20, True)
    asked = [ScoredQuestion(question(20 + n), is_debiased=True) for n in range(3)]
    first = run_to_end(scorer.score(caches, asked, CHUNK))
    assert len(counting.encoded) == 3  # two of the clip, one grey one for both places
    counting.forget_counts()
    again = run_to_end(scorer.score(caches, asked, CHUNK))
    assert again == first and not counting.encoded
    assert len({score.bias for score in first}) == 3


def test_only_so_many_biases_are_kept_and_those_used_last_stay() -> None:
    kept = KeptBiases(2)
    keys = [(bytes([number]), ()) for number in range(3)]
    kept.keep(keys[0], (0.0,))
    kept.keep(keys[1], (1.0,))
    assert kept.find(keys[0]) == (0.0,)
    kept.keep(keys[2], (2.0,))
    assert [kept.find(key) for key in keys] == [(0.0,), (), (2.0,)]


def test_giving_up_at_any_step_frees_the_slot_and_spoils_nothing(counting: CountingBackend) -> None:
    scorer, caches = AnswerScorer(letters, (3,)), Caches(counting, 1 << 20, True)
    asked = [ScoredQuestion(question(20 + n), is_debiased=True) for n in range(3)]
    expected = run_to_end(AnswerScorer(letters, (3,)).score(caches, asked, 8))
    for stopped_after in range(1, 12):
        caches.forget()
        steps = scorer.score(caches, asked, 8)
        for _, _ in zip(range(stopped_after), steps, strict=False):
            pass
        steps.close()
        assert run_to_end(AnswerScorer(letters, (3,)).score(caches, asked, 8)) == expected
    caches.prefix_cache.free_kept()
    assert not counting.held()
