# SPDX-License-Identifier: Apache-2.0
"""Work done before anybody asks for it: frames encoded, the part of a prompt that others share computed. Knows no text.

Generators with a yield after every step, for a job of idle time; ending one at any yield keeps what is finished.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence

from penguin_ros.backends.base import Features
from penguin_ros.generation.position_keys import visual_end
from penguin_ros.generation.prompt_run import prompt_room, prompt_run
from penguin_ros.generation.reuse import Reuse
from penguin_ros.model_inputs import FramePatches, ModelInputs


def encode_ahead(reuse: Reuse, frames: Sequence[FramePatches]) -> Generator[None, None, int]:
    """Has the features of `frames` kept; yields after every slice. Returns how many it encoded.

    A request that needs such a frame meanwhile goes on with the half-done encode.
    """
    encoded = 0
    for frame in frames:
        if not reuse.features.has(frame.key):
            features: list[Features | None] = []
            try:
                encoded += yield from reuse.encodes.encode([frame], features)
            finally:
                features.clear()
    return encoded


def prefill_ahead(reuse: Reuse, inputs: ModelInputs, prefill_chunk: int) -> Generator[None, None, int]:
    """Computes the prompt up to its last visual token and has it kept; yields after every slice and chunk.

    Returns how many positions it computed. Raises as `generate` does: NoFreeSlot when requests hold all slots.
    """
    prompt_room(reuse.backend, inputs)
    with prompt_run(reuse, inputs, visual_end(inputs)) as run:
        yield from run.encode()
        chunks = run.chunks(prefill_chunk)[::-1]
        try:
            while chunks:
                run.slot.forward(chunks.pop())
                yield
        finally:
            chunks.clear()
        return run.slot.length - run.reused
