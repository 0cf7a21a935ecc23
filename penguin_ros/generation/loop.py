# SPDX-License-Identifier: Apache-2.0
"""The generation loop: encode, prefill, decode, one yield per step. Knows backends by their interface, not who asks or waits.

Whoever drives the generator may pause, close it or throw an error into it at any yield; the KV slot and the visual features
are given back whatever happens. A thrown error comes out again, unchanged; what was generated until then stands in the
`Progress` object that the driver passed in, so that a cancelled request can still deliver its partial text.
"""
from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from penguin_ros.backends.base import Backend, Chunk, Features
from penguin_ros.errors import InvalidRequest, PromptTooLong
from penguin_ros.generation.chooser import Chooser
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.progress import Generation, Phase, Progress, Step
from penguin_ros.generation.sampling import checked
from penguin_ros.generation.text_stream import TextStream
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import StopReason


def generate(backend: Backend, inputs: ModelInputs, limits: Limits, text: TextStream, clock: Callable[[], int],
             progress: Progress | None = None) -> Generator[Step, None, Generation]:
    """Answers one prompt; every yield is one step: a slice of the encode, a prefill chunk, or one decode step.

    `clock` is steady, in nanoseconds. Raises PromptTooLong before any work, NoFreeSlot before the encode, InvalidLogits,
    TokenCountMismatch and what the backend raises; what is thrown in comes out. The thread of the backend drives it.
    """
    progress = Progress() if progress is None else progress
    progress.prompt_tokens, progress.visual_tokens = len(inputs.prompt.token_ids), inputs.visual_tokens
    max_tokens = _max_tokens(backend, inputs, limits)
    slot = backend.new_slot()
    # The only names for the handles are lists that are emptied: a thrown error's traceback keeps local names alive, and whoever
    # keeps the error would keep the device's memory.
    features: list[Features] = []
    try:
        run = _Run(backend, slot, limits, Chooser(limits, max_tokens, text, progress), clock)
        yield from run.encode(inputs, features)
        yield from run.prefill(inputs, features)
        yield from run.decode()
        return progress.generation()
    finally:
        features.clear()
        backend.free_slot(slot)


def _max_tokens(backend: Backend, inputs: ModelInputs, limits: Limits) -> int:
    """How many new tokens fit; PromptTooLong when not one does."""
    prompt_tokens, max_length = len(inputs.prompt.token_ids), backend.description.max_length
    if prompt_tokens == 0:
        raise InvalidRequest('the prompt is empty', 'there is nothing to continue')
    if prompt_tokens + 1 > max_length:
        raise PromptTooLong(f'the prompt has {prompt_tokens} tokens', f'a KV slot holds {max_length}, the answer included',
                            'Raise model.max_length, lower visual.max_visual_tokens or clip.max_frames, or ask more briefly')
    return min(limits.max_tokens, max_length - prompt_tokens)


class _Run:
    """The three phases of one generation on one slot."""

    def __init__(self, backend: Backend, slot: int, limits: Limits, chooser: Chooser, clock: Callable[[], int]) -> None:
        self._backend, self._slot, self._chooser, self._clock = backend, slot, chooser, clock
        self._prefill_chunk = limits.prefill_chunk
        # Then the backend may choose where the logits are.
        self._is_greedy = limits.sampling.temperature <= 0.0 and not limits.keep_logits
        self._progress = chooser.progress

    def encode(self, inputs: ModelInputs, features: list[Features]) -> Generator[Step, None, None]:
        """One step per slice; fills `features`. The backend drops what it computed when this generator is closed early."""
        if not inputs.frames:
            return
        slices = self._backend.encode(inputs.frames)
        try:
            is_done = False
            while not is_done:
                started = self._clock()
                is_done = _advance(slices, features)
                self._count('encode', started)
                yield Step('encode')
        finally:
            slices.close()

    def prefill(self, inputs: ModelInputs, features: list[Features]) -> Generator[Step, None, None]:
        """One step per chunk; the last one chooses the first token. Empties `features`: each goes with its last chunk."""
        chunks = list(prompt_chunks(inputs, features, self._prefill_chunk))[::-1]
        features.clear()
        try:
            while chunks:
                started = self._clock()
                if len(chunks) > 1:
                    self._backend.forward(self._slot, chunks.pop())
                    step = Step('prefill')
                else:
                    step = self._choose('prefill', chunks.pop())
                self._count('prefill', started)
                yield step
        finally:
            chunks.clear()

    def decode(self) -> Generator[Step, None, None]:
        """One step per token, until a stop rule holds."""
        while self._progress.stop_reason is StopReason.NONE:
            started = self._clock()
            newest = Chunk(np.array(self._progress.token_ids[-1:], np.int64))
            step = self._choose('decode', newest)
            self._count('decode', started)
            yield step

    def _choose(self, phase: Phase, chunk: Chunk) -> Step:
        """Appends a chunk and takes the token after it."""
        if self._is_greedy:
            return self._chooser.take(phase, checked(self._backend.forward_best(self._slot, chunk)))
        return self._chooser.step(phase, self._backend.forward(self._slot, chunk, (-1,))[0])

    def _count(self, phase: Phase, started_ns: int) -> None:
        self._progress.durations_ns[phase] += self._clock() - started_ns


def _advance(slices: Generator[None, None, list[Features]], features: list[Features]) -> bool:
    """Runs one slice; True when it was the last, with the handles of all frames then in `features`."""
    try:
        next(slices)
    except StopIteration as end:
        features.extend(end.value)
        return True
    return False
