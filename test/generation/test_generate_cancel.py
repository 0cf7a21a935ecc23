# SPDX-License-Identifier: Apache-2.0
"""Ending the generation loop from outside, at every step."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Generator, Iterator, Sequence

import pytest
from support.built_inputs import frame, inputs
from support.slow_parts import sampled

from penguin_ros.backends.base.backend import Features
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, DeadlineExceeded, RequestCancelled
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput, Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import FramePatches
from penguin_ros.request import StopReason
from penguin_ros.testing.scripted_backend import ScriptedBackend

QUESTION = inputs([1, 2, frame(4, 6), 3, frame(2, 4), *range(10, 19)])
SCRIPT = [30, 31, 32, 33]
PARAMS = SamplingParams(max_tokens=4, stop_token_ids=(), prefill_chunk=4)
STEPS = (
    4 + 1 + 5 + 3
)  # slices of 8 patches and the encode's end, chunks of 20 positions, tokens after the first


class WatchedBackend(ScriptedBackend):
    """Remembers every handle it gave out, weakly, and whether its encodes were ended."""

    def __init__(self) -> None:
        super().__init__(ModelConfig(max_length=64, kv_slots=1, encode_patches=8), script=SCRIPT)
        self.features: list[weakref.ref[Features]] = []
        self.running_encodes = 0

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        self.running_encodes += 1
        try:
            features = yield from super().encode(frames)
            self.features += map(weakref.ref, features)
            return features
        finally:
            self.running_encodes -= 1

    def is_clean(self) -> bool:
        """The only slot is free, no encode runs, no handle is alive."""
        self.free_slot(self.new_slot())
        gc.collect()
        return self.running_encodes == 0 and all(features() is None for features in self.features)


@pytest.fixture
def backend() -> Iterator[WatchedBackend]:
    opened = WatchedBackend()
    opened.open()
    yield opened
    opened.close()


def new_output() -> GenerationOutput:
    return GenerationOutput(Detokenizer(lambda token: bytes([97 + (token - 30) % 26])))


def started(
    backend: ScriptedBackend, output: GenerationOutput, steps: int
) -> Generator[Step, None, None]:
    running = generate(Caches(backend), QUESTION, PARAMS, output, itertools.count().__next__)
    for _ in range(steps):
        next(running)
    return running


@pytest.mark.parametrize('steps', sampled(range(1, STEPS + 1), (1, STEPS // 2, STEPS)))
def test_an_error_thrown_in_at_any_step_comes_out_and_nothing_stays_taken(
    backend: WatchedBackend, steps: int
) -> None:
    running = started(backend, new_output(), steps)
    error = RequestCancelled('the client cancelled')
    with pytest.raises(RequestCancelled) as caught:
        running.throw(error)
    assert (
        caught.value is error
    )  # held, with its traceback, while the next line looks for live handles
    assert backend.is_clean()


@pytest.mark.parametrize('steps', sampled(range(STEPS + 1), (0, STEPS // 2, STEPS)))
def test_closing_at_any_step_leaves_nothing_taken(backend: WatchedBackend, steps: int) -> None:
    started(backend, new_output(), steps).close()
    assert backend.is_clean()


def test_a_whole_generation_leaves_nothing_taken(backend: WatchedBackend) -> None:
    assert len(list(started(backend, new_output(), 0))) == STEPS
    assert backend.is_clean()


def test_features_are_given_back_before_the_first_decode_step(backend: WatchedBackend) -> None:
    running = started(backend, new_output(), STEPS - 3)
    gc.collect()
    assert len(backend.features) == 2 and all(features() is None for features in backend.features)
    running.close()


def test_a_text_that_was_ended_from_outside_can_be_delivered(backend: WatchedBackend) -> None:
    output = new_output()
    running = started(backend, output, STEPS - 2)
    with pytest.raises(DeadlineExceeded):
        running.throw(DeadlineExceeded('too late'))
    assert (output.token_ids, output.text) == ([30, 31], 'ab')
    assert output.stop_reason is StopReason.NONE and not output.is_complete
    stats = output.stats
    assert (stats.prompt_tokens, stats.visual_tokens, stats.generated_tokens) == (20, 8, 2)
    assert stats.prefill_ns > 0 and stats.encode_ns > 0


def test_before_the_first_token_the_partial_text_is_empty(backend: WatchedBackend) -> None:
    output = new_output()
    started(backend, output, 2).close()
    assert output.text == ''


def test_an_error_of_the_backend_comes_out_and_the_slot_is_free_again(
    backend: WatchedBackend,
) -> None:
    for failing in ('encode', 'prefill', 'decode'):

        def fail(step: str, failing: str = failing) -> None:
            if step == failing:
                raise BackendError(f'{failing} failed')

        backend.on_step = fail
        with pytest.raises(BackendError, match=f'{failing} failed'):
            list(started(backend, new_output(), 0))
        backend.on_step = lambda step: None
        backend.free_slot(backend.new_slot())


def test_two_generations_in_turns_do_not_disturb_each_other() -> None:
    backend = ScriptedBackend(ModelConfig(max_length=64, kv_slots=2, encode_patches=8))
    backend.open()
    alone = new_output()
    list(started(backend, alone, 0))
    first, second = new_output(), new_output()
    for _ in itertools.zip_longest(started(backend, first, 0), started(backend, second, 3)):
        pass
    assert first.token_ids == second.token_ids == alone.token_ids
    assert len(alone.token_ids) == 4
