# SPDX-License-Identifier: Apache-2.0
"""Answers one prompt: encode, prefill, decode, with one yield per step.

Read it from top to bottom: `generate` calls `_encode` and `_prefill`, which bring a KV slot to hold
the prompt, and then `_Decoder`, which appends what it takes until a stop rule holds. The thread of
the backend, the scheduler's worker, drives the generator. Whoever drives it may pause it, close it
or throw an error into it at any yield: the KV slot and the visual features are given back, or kept
for the next prompt, and the error comes out unchanged.

A draft is verified by one pass over its tokens. The token of each position is chosen as it would be
without a draft, from the same logits with the same random numbers, and counts as long as all
drafted tokens before it were chosen too. So a draft changes nothing but the time, to the rounding
of passes over different numbers of positions, for greedy decoding and for sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Features, GreedyToken, Logits
from penguin_ros.errors import InvalidLogits, InvalidRequest, PromptTooLong
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.kv_slot import KVSlot, prompt_keys, visual_end
from penguin_ros.generation.output import GenerationOutput, Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.sampler import Sampler
from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.generation.speculative.drafter import Drafter, drafter_for
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import driven


def generate(
    caches: Caches,
    inputs: ModelInputs,
    params: SamplingParams,
    output: GenerationOutput,
    clock: Callable[[], int],
    history: PromptHistory | None = None,
) -> Generator[Step, None, None]:
    """Generates a text into `output`; every yield is one step: a slice of the encode, a prefill
    chunk, or one decode step.

    What `caches` hold of earlier generations is not computed again, and they keep this one for
    later ones, unless they keep nothing. `clock` is steady, in nanoseconds. Drafts are made from
    `history`; without it nothing is drafted. Raises PromptTooLong before any work, NoFreeSlot
    before the encode, InvalidLogits, TokenCountMismatch, and what the backend raises.
    """
    stats = output.stats
    stats.prompt_tokens = len(inputs.prompt.token_ids)
    stats.visual_tokens = inputs.visual_tokens
    max_new_tokens = min(params.max_tokens, max_new_tokens_of(caches.backend, inputs))
    with leased_slot(caches, inputs) as slot, emptied_at_end() as features:
        stats.reused_tokens = slot.length
        encode = _encode(caches, inputs, slot, features, output)
        yield from driven(encode, clock, partial(stats.add_duration, 'encode'))
        sampler = Sampler(params, max_new_tokens, output)
        decoder = _Decoder(slot, sampler, drafter_for(params, inputs, history), params, clock)
        prefill = _prefill(slot, inputs, features, params.prefill_chunk, decoder)
        yield from driven(prefill, clock, partial(stats.add_duration, 'prefill'))
        decode = decoder.steps(output)
        yield from driven(decode, clock, partial(stats.add_duration, 'decode'))


def max_new_tokens_of(backend: Backend, inputs: ModelInputs) -> int:
    """Returns how many new tokens fit behind the prompt; PromptTooLong when not even one does."""
    prompt_tokens = len(inputs.prompt.token_ids)
    max_length = backend.description.max_length
    if prompt_tokens == 0:
        raise InvalidRequest('the prompt is empty', 'there is nothing to continue')
    if prompt_tokens + 1 > max_length:
        raise PromptTooLong(
            f'the prompt has {prompt_tokens} tokens',
            f'a KV slot holds {max_length}, the answer included',
            'Raise model.max_length, lower visual.max_visual_tokens or clip.max_frames, or ask more'
            ' briefly',
        )
    return max_length - prompt_tokens


@contextmanager
def leased_slot(caches: Caches, inputs: ModelInputs) -> Iterator[KVSlot]:
    """Gives the slot that suits the prompt best, which holds its first `length` positions already.
    At the end the slot is kept for the next prompt, or freed. NoFreeSlot, InvalidRequest.
    """
    lasting = inputs.lasting_tokens
    slot = caches.prefix_cache.acquire(
        prompt_keys(inputs), max(visual_end(inputs), lasting), is_lasting=lasting > 0
    )
    try:
        yield slot
    except InvalidLogits:
        slot.is_sound = False
        caches.distrust(frame.key for frame in inputs.frames)
        raise
    finally:
        caches.prefix_cache.release(slot)


@contextmanager
def emptied_at_end() -> Iterator[list[Features | None]]:
    """Gives an empty list, the only name for the handles of features, and empties it at the end.

    A thrown error's traceback keeps local names alive, and whoever keeps the error would keep the
    device's memory.
    """
    features: list[Features | None] = []
    try:
        yield features
    finally:
        features.clear()


def _encode(
    caches: Caches,
    inputs: ModelInputs,
    slot: KVSlot,
    features: list[Features | None],
    output: GenerationOutput,
) -> Generator[Step, None, None]:
    """Puts the features of the frames that the slot does not hold yet into `features`. One step per
    slice, none when no frame is to be encoded.
    """
    needed = needed_frames(inputs, (slot.length, len(inputs.prompt.token_ids)))
    with closing(caches.encoder.encode(needed, features)) as slices:
        while True:
            try:
                next(slices)
            except StopIteration as end:
                encoded: int = end.value
                break
            yield Step('encode')
    output.stats.reused_frames = len(inputs.frames) - encoded
    if encoded:
        yield Step('encode')


def _prefill(
    slot: KVSlot,
    inputs: ModelInputs,
    features: list[Features | None],
    size: int,
    decoder: _Decoder,
) -> Generator[Step, None, None]:
    """Appends the positions of the prompt that the slot lacks. One step per chunk of at most `size`
    positions; the last one gives the first token. A frame's features go with its last chunk.
    """
    part = (slot.length, len(inputs.prompt.token_ids))
    chunks = list(prompt_chunks(inputs, features, size, part))[::-1]
    features.clear()
    try:
        while len(chunks) > 1:
            slot.forward(chunks.pop())
            yield Step('prefill')
        yield decoder.first_step(chunks.pop())
    finally:
        chunks.clear()


class _Decoder:
    """Appends to one KV slot and takes the tokens that follow: one, or several when a draft is
    verified or a grammar forces them. Whenever a step is over, the slot holds the prompt and tokens
    of the text, and no rejected draft; `_pending` are those that it lacks, the newest at least.
    """

    def __init__(
        self,
        slot: KVSlot,
        sampler: Sampler,
        drafter: Drafter | None,
        params: SamplingParams,
        clock: Callable[[], int],
    ) -> None:
        self._slot = slot
        self._sampler = sampler
        self._drafter = drafter
        self._is_greedy = params.is_greedy_without_logits
        self._longest = params.prefill_chunk
        self._clock = clock
        self._pending: list[int] = []

    def first_step(self, chunk: Chunk) -> Step:
        """Appends the last chunk of a prompt and takes the token after it."""
        step = self._sampler.step('prefill', self._append(chunk, 1))
        self._pending = list(step.token_ids)
        return self._taken(step)

    def steps(self, output: GenerationOutput) -> Generator[Step, None, None]:
        """One step per pass, until a stop rule holds."""
        while not output.is_complete:
            while len(self._pending) > self._longest:
                self._append_pending(self._longest)
                yield Step('decode')
            yield self._next_step()

    def _append_pending(self, count: int) -> None:
        """Appends the first `count` pending tokens."""
        self._slot.forward(Chunk(np.array(self._pending[:count], np.int64)))
        del self._pending[:count]

    def _next_step(self) -> Step:
        """Appends the pending tokens, with a draft of those that may follow them, and takes those
        that do.
        """
        guess = self._drafter.draft(self._sampler.tokens_left) if self._drafter else []
        draft = self._sampler.fitting(guess)
        positions = len(self._pending) + len(draft)
        steps = self._slot.greedy_steps if self._is_greedy and positions == 1 else 1
        steps = steps if steps <= self._sampler.tokens_left else 1
        start_ns = self._clock()
        step = self._verify(draft) if steps == 1 else self._write(steps)
        if self._drafter:
            self._drafter.note_pass(positions, (self._clock() - start_ns) // steps)
        return self._taken(step)

    def _write(self, count: int) -> Step:
        """Has the backend write `count` tokens, and takes those up to the end of the text."""
        held, kept = self._slot.length, 0
        results = self._slot.forward_greedy_run(self._pending[0], count)
        try:
            step = self._sampler.run(results)
            kept = len(step.token_ids)
            self._pending = [step.token_ids[-1]]
            return step
        finally:  # of any error too
            if kept < count:
                self._slot.truncate(held + kept)

    def _verify(self, draft: Sequence[int]) -> Step:
        """Makes a step of one pass, and of a second one where a drafted token spoils the logits
        before it, as NaN in a pass may.
        """
        held, pending = self._slot.length, self._pending
        results = self._append(Chunk(np.array([*pending, *draft], np.int64)), 1 + len(draft))
        kept = held
        try:
            step = self._sampler.step('decode', results, draft)
            right = _common_length(step.token_ids[:-1], draft)
            kept += len(pending) + right
            self._pending = list(step.token_ids[right:])
            return step
        except InvalidLogits:
            if not draft:
                raise
        finally:  # of any error too
            if draft and kept < self._slot.length:
                self._slot.truncate(kept)
        return self._verify(())

    def _append(self, chunk: Chunk, count: int) -> Sequence[GreedyToken] | Logits:
        """Appends `chunk`; returns what is known of the token after each of its last `count`
        positions.
        """
        if not self._is_greedy:
            return self._slot.forward(chunk, range(-count, 0))
        if count == 1:
            return [self._slot.forward_greedy(chunk)]
        return self._slot.forward_greedy_each(chunk, range(-count, 0))

    def _taken(self, step: Step) -> Step:
        if self._drafter:
            self._drafter.add(step.token_ids)
        return step


def _common_length(token_ids: Sequence[int], draft: Sequence[int]) -> int:
    """Returns how many tokens from the first on are those of the draft."""
    pairs = enumerate(zip(token_ids, draft, strict=False))
    differing = (index for index, (token_id, guess) in pairs if token_id != guess)
    return next(differing, min(len(token_ids), len(draft)))
