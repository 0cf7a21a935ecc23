# SPDX-License-Identifier: Apache-2.0
"""Brings a KV slot to hold a prompt: encodes the frames it needs, computes the positions it lacks. Knows no text and no tokens
that come after. Whoever drives the generators may end them at any yield; the slot is then kept as far as it is.
"""
from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from penguin_ros.backends.base import Backend, Chunk, Features
from penguin_ros.errors import InvalidLogits, InvalidRequest, PromptTooLong
from penguin_ros.generation.chunks import needed_frames, prompt_chunks
from penguin_ros.generation.keyed_slot import KeyedSlot
from penguin_ros.generation.position_keys import prompt_keys, visual_end
from penguin_ros.generation.reuse import Reuse
from penguin_ros.model_inputs import ModelInputs


class PromptRun:
    """`slot` holds the first `reused` positions already."""

    def __init__(self, reuse: Reuse, slot: KeyedSlot, inputs: ModelInputs) -> None:
        self.slot, self.reused = slot, slot.length
        self.encoded_frames = 0
        self._reuse, self._inputs = reuse, inputs
        self._part = (self.reused, len(inputs.prompt.token_ids))
        # The only name for the handles is a list that is emptied: a thrown error's traceback keeps local names alive, and whoever
        # keeps the error would keep the device's memory.
        self._features: list[Features | None] = []

    def encode(self) -> Generator[None, None, None]:
        """Yields after every slice; afterwards the features of all frames that are needed are there."""
        needed = needed_frames(self._inputs, self._part)
        self.encoded_frames = yield from self._reuse.encodes.encode(needed, self._features)

    def chunks(self, size: int) -> list[Chunk]:
        """What is to be appended, in order, in chunks of at most `size` positions. Hands the features over: ask once."""
        chunks = list(prompt_chunks(self._inputs, self._features, size, self._part))
        self._features.clear()
        return chunks

    def close(self) -> None:
        """Lets go of the features."""
        self._features.clear()


@contextmanager
def prompt_run(reuse: Reuse, inputs: ModelInputs) -> Iterator[PromptRun]:
    """A run on the slot that suits the prompt best, which is kept, or given back, at the end. NoFreeSlot, InvalidRequest."""
    slot = reuse.prefixes.acquire(prompt_keys(inputs), visual_end(inputs))
    run = PromptRun(reuse, slot, inputs)
    try:
        yield run
    except InvalidLogits:
        slot.is_sound = False
        reuse.distrust(frame.key for frame in inputs.frames)
        raise
    finally:
        run.close()
        reuse.prefixes.release(slot)


def prompt_room(backend: Backend, inputs: ModelInputs) -> int:
    """How many new tokens fit behind the prompt; PromptTooLong when not one does."""
    prompt_tokens, max_length = len(inputs.prompt.token_ids), backend.description.max_length
    if prompt_tokens == 0:
        raise InvalidRequest('the prompt is empty', 'there is nothing to continue')
    if prompt_tokens + 1 > max_length:
        raise PromptTooLong(f'the prompt has {prompt_tokens} tokens', f'a KV slot holds {max_length}, the answer included',
                            'Raise model.max_length, lower visual.max_visual_tokens or clip.max_frames, or ask more briefly')
    return max_length - prompt_tokens
