# SPDX-License-Identifier: Apache-2.0
"""The generation loop: encode, prefill, decode, one yield per step. Knows backends by their interface, not who asks or waits.

Whoever drives the generator may pause, close it or throw an error into it at any yield; the KV slot and the visual features
are given back, or kept for the next prompt, whatever happens. A thrown error comes out again, unchanged; what was generated
until then stands in the `Progress` object that the driver passed in, so that a cancelled request can still deliver its text.
"""
from __future__ import annotations

from collections.abc import Callable, Generator

from penguin_ros.backends.base import Backend
from penguin_ros.generation.chooser import Chooser
from penguin_ros.generation.decoding import Decoding
from penguin_ros.generation.drafter import drafter_for
from penguin_ros.generation.keyed_slot import KeyedSlot
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.progress import Generation, Phase, Progress, Step
from penguin_ros.generation.prompt_run import PromptRun, prompt_room, prompt_run
from penguin_ros.generation.reuse import Reuse, reuse_of
from penguin_ros.generation.text_stream import TextStream
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import StopReason

_DONE = object()


def generate(backend: Backend | Reuse, inputs: ModelInputs, limits: Limits, text: TextStream, clock: Callable[[], int],
             progress: Progress | None = None) -> Generator[Step, None, Generation]:
    """Answers one prompt; every yield is one step: a slice of the encode, a prefill chunk, or one decode step.

    With a `Reuse`, what it keeps of earlier generations is not computed again, and this one is kept for later ones.
    `clock` is steady, in nanoseconds. Raises PromptTooLong before any work, NoFreeSlot before the encode, InvalidLogits,
    TokenCountMismatch and what the backend raises; what is thrown in comes out. The thread of the backend drives it.
    """
    reuse, progress = reuse_of(backend), Progress() if progress is None else progress
    progress.prompt_tokens, progress.visual_tokens = len(inputs.prompt.token_ids), inputs.visual_tokens
    max_tokens = min(limits.max_tokens, prompt_room(reuse.backend, inputs))
    with prompt_run(reuse, inputs) as prompt:
        progress.reused_tokens = prompt.reused
        chooser = Chooser(limits, max_tokens, text, progress)
        run = _Run(Decoding(prompt.slot, limits, chooser, drafter_for(limits, inputs)), prompt.slot, limits, progress, clock)
        yield from run.encode(prompt)
        progress.reused_frames = len(inputs.frames) - prompt.encoded_frames
        yield from run.prefill(prompt)
        yield from run.decode()
        return progress.generation()


class _Run:
    """The three phases of one generation on one slot."""

    def __init__(self, decoding: Decoding, slot: KeyedSlot, limits: Limits, progress: Progress, clock: Callable[[], int]) -> None:
        self._decoding, self._slot, self._progress, self._clock = decoding, slot, progress, clock
        self._prefill_chunk = limits.prefill_chunk

    def encode(self, prompt: PromptRun) -> Generator[Step, None, None]:
        """One step per slice; none when no frame is to be encoded."""
        slices = prompt.encode()
        try:
            is_done = False
            while not is_done:
                started = self._clock()
                is_done = next(slices, _DONE) is _DONE
                self._count('encode', started)
                if not is_done or prompt.encoded_frames:
                    yield Step('encode')
        finally:
            slices.close()

    def prefill(self, prompt: PromptRun) -> Generator[Step, None, None]:
        """One step per chunk; the last one chooses the first token. A frame's features go with its last chunk."""
        chunks = prompt.chunks(self._prefill_chunk)[::-1]
        try:
            while chunks:
                started = self._clock()
                if len(chunks) > 1:
                    self._slot.forward(chunks.pop())
                    step = Step('prefill')
                else:
                    step = self._decoding.first(chunks.pop())
                self._count('prefill', started)
                yield step
        finally:
            chunks.clear()

    def decode(self) -> Generator[Step, None, None]:
        """One step per pass, until a stop rule holds."""
        while self._progress.stop_reason is StopReason.NONE:
            started = self._clock()
            step = self._decoding.next(self._clock)
            self._count('decode', started)
            yield step

    def _count(self, phase: Phase, started_ns: int) -> None:
        self._progress.durations_ns[phase] += self._clock() - started_ns
