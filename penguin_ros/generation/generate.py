# SPDX-License-Identifier: Apache-2.0
"""The generation loop: encode, prefill, decode, one yield per step. Knows backends by their
interface, not who asks or waits.

Whoever drives the generator may pause, close it or throw an error into it at any yield; the KV slot
and the visual features are given back, or kept for the next prompt, whatever happens. A thrown
error comes out again, unchanged; what was generated until then stands in the `GenerationStats`
object that the driver passed in, so that a cancelled request can still deliver its text.

Appends to one KV slot and takes the tokens that follow: one, or several when a draft is verified.
Knows no frames.

A draft is verified by one pass over its tokens: each position's token is chosen as it would be
without a draft, from the same logits with the same random numbers, and counts as long as all
drafted ones before it were chosen too. So a draft changes nothing but the time, to the rounding of
passes over different numbers of positions, for greedy decoding and for sampling.

Brings a KV slot to hold a prompt: encodes the frames it needs, computes the positions it lacks.
Knows no text and no tokens that come after. Whoever drives the generators may end them at any
yield; the slot is then kept as far as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Features, GreedyToken, Logits
from penguin_ros.errors import InvalidLogits, InvalidRequest, PromptTooLong
from penguin_ros.generation.caches import Caches, caches_of
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.kv_slot import KVSlot, prompt_keys, visual_end
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.sampler import Sampler
from penguin_ros.generation.speculative.drafter import Drafter, drafter_for
from penguin_ros.generation.stats import Generation, GenerationStats, Phase, Step
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import StopReason


class Prefill:
    """`slot` holds the first `reused` positions already."""

    def __init__(self, caches: Caches, slot: KVSlot, inputs: ModelInputs) -> None:
        self.slot, self.reused = slot, slot.length
        self.encoded_frames = 0
        self._caches, self._inputs = caches, inputs
        self._part = (self.reused, len(inputs.prompt.token_ids))
        # The only name for the handles is a list that is emptied: a thrown error's traceback keeps
        # local names alive, and whoever keeps the error would keep the device's memory.
        self._features: list[Features | None] = []

    def encode(self) -> Generator[None, None, None]:
        """Yields after every slice; afterwards the features of all frames that are needed are
        there.
        """
        needed = needed_frames(self._inputs, self._part)
        self.encoded_frames = yield from self._caches.encoder.encode(needed, self._features)

    def chunks(self, size: int) -> list[Chunk]:
        """What is to be appended, in order, in chunks of at most `size` positions. Hands the
        features over: ask once.
        """
        chunks = list(prompt_chunks(self._inputs, self._features, size, self._part))
        self._features.clear()
        return chunks

    def close(self) -> None:
        """Lets go of the features."""
        self._features.clear()


@contextmanager
def open_prefill(caches: Caches, inputs: ModelInputs) -> Iterator[Prefill]:
    """A run on the slot that suits the prompt best, which is kept, or given back, at the end.
    NoFreeSlot, InvalidRequest.
    """
    slot = caches.prefix_cache.acquire(prompt_keys(inputs), visual_end(inputs))
    run = Prefill(caches, slot, inputs)
    try:
        yield run
    except InvalidLogits:
        slot.is_sound = False
        caches.distrust(frame.key for frame in inputs.frames)
        raise
    finally:
        run.close()
        caches.prefix_cache.release(slot)


def max_new_tokens_of(backend: Backend, inputs: ModelInputs) -> int:
    """How many new tokens fit behind the prompt; PromptTooLong when not one does."""
    prompt_tokens, max_length = len(inputs.prompt.token_ids), backend.description.max_length
    if prompt_tokens == 0:
        raise InvalidRequest('the prompt is empty', 'there is nothing to continue')
    if prompt_tokens + 1 > max_length:
        raise PromptTooLong(
            f'the prompt has {prompt_tokens} tokens',
            f'a KV slot holds {max_length}, the answer included',
            'Raise model.max_length, lower visual.max_visual_tokens or clip.max_frames, or ask more briefly',
        )
    return max_length - prompt_tokens


class Decoding:
    """Of one generation; whenever a step is over the slot holds the prompt and tokens of the text,
    and no rejected draft.
    """

    def __init__(
        self, slot: KVSlot, limits: SamplingParams, sampler: Sampler, drafter: Drafter | None
    ) -> None:
        self._slot, self._sampler, self._drafter = slot, sampler, drafter
        # Then the backend may choose where the logits are.
        self._is_greedy = limits.sampling.temperature <= 0.0 and not limits.keep_logits

    def first(self, chunk: Chunk) -> Step:
        """Appends the last chunk of a prompt and takes the token after it."""
        return self._taken(self._sampler.step('prefill', self._append(chunk, 1)))

    def next(self, clock: Callable[[], int]) -> Step:
        """Appends the newest token, with a draft of those that may follow it, and takes those that
        do.
        """
        draft = self._drafter.draft(self._sampler.room) if self._drafter else []
        started = clock()
        step = self._verified(draft)
        if self._drafter:
            self._drafter.note_pass(1 + len(draft), clock() - started)
        return self._taken(step)

    def _verified(self, draft: Sequence[int]) -> Step:
        """A step of one pass; of a second one where a drafted token spoils the logits before it, as
        NaN in a pass may.
        """
        held, newest = self._slot.length, self._sampler.progress.token_ids[-1]
        results = self._append(Chunk(np.array([newest, *draft], np.int64)), 1 + len(draft))
        kept = held
        try:
            step = self._sampler.step('decode', results, draft)
            kept += len(step.token_ids)
            return step
        except InvalidLogits:
            if not draft:
                raise
        finally:  # of any error too
            if draft and kept < self._slot.length:
                self._slot.truncate(kept)
        return self._verified(())

    def _append(self, chunk: Chunk, count: int) -> Sequence[GreedyToken] | Logits:
        """Appends `chunk`; what is known of the token after each of its last `count` positions."""
        if not self._is_greedy:
            return self._slot.forward(chunk, range(-count, 0))
        if count == 1:
            return [self._slot.forward_greedy(chunk)]
        return self._slot.forward_greedy_each(chunk, range(-count, 0))

    def _taken(self, step: Step) -> Step:
        if self._drafter:
            self._drafter.add(step.token_ids)
        return step


_DONE = object()


def generate(
    backend: Backend | Caches,
    inputs: ModelInputs,
    limits: SamplingParams,
    text: Detokenizer,
    clock: Callable[[], int],
    progress: GenerationStats | None = None,
) -> Generator[Step, None, Generation]:
    """Answers one prompt; every yield is one step: a slice of the encode, a prefill chunk, or one
    decode step.

    With a `Caches`, what it keeps of earlier generations is not computed again, and this one is
    kept for later ones. `clock` is steady, in nanoseconds. Raises PromptTooLong before any work,
    NoFreeSlot before the encode, InvalidLogits, TokenCountMismatch and what the backend raises;
    what is thrown in comes out. The thread of the backend drives it.
    """
    caches, progress = caches_of(backend), GenerationStats() if progress is None else progress
    progress.prompt_tokens, progress.visual_tokens = (
        len(inputs.prompt.token_ids),
        inputs.visual_tokens,
    )
    max_tokens = min(limits.max_tokens, max_new_tokens_of(caches.backend, inputs))
    with open_prefill(caches, inputs) as prompt:
        progress.reused_tokens = prompt.reused
        sampler = Sampler(limits, max_tokens, text, progress)
        run = _Run(
            Decoding(prompt.slot, limits, sampler, drafter_for(limits, inputs)),
            prompt.slot,
            limits,
            progress,
            clock,
        )
        yield from run.encode(prompt)
        progress.reused_frames = len(inputs.frames) - prompt.encoded_frames
        yield from run.prefill(prompt)
        yield from run.decode()
        return progress.generation()


class _Run:
    """The three phases of one generation on one slot."""

    def __init__(
        self,
        decoding: Decoding,
        slot: KVSlot,
        limits: SamplingParams,
        progress: GenerationStats,
        clock: Callable[[], int],
    ) -> None:
        self._decoding, self._slot, self._progress, self._clock = decoding, slot, progress, clock
        self._prefill_chunk = limits.prefill_chunk

    def encode(self, prompt: Prefill) -> Generator[Step, None, None]:
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

    def prefill(self, prompt: Prefill) -> Generator[Step, None, None]:
        """One step per chunk; the last one chooses the first token. A frame's features go with its
        last chunk.
        """
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
