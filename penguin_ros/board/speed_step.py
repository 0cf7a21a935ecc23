# SPDX-License-Identifier: Apache-2.0
"""The step that takes times with the bundle: frames of several sizes, prefills of several lengths,
decoding at several positions. Every time contains the waiting for the device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.board.encoder_layer_step import MERGE, grid
from penguin_ros.board.micro_step import Entry, attempt
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.model_inputs import FramePatches
from penguin_ros.steps import run_to_end

REPEATS = 3


def run(order: StepOrder, note: Note) -> None:
    """Notes `encode` by patches, `prefill` by tokens, and `decode` by position, in seconds; what
    does not fit the engines says why.
    """
    sizes = order.sizes
    found: dict[str, dict[str, Entry]] = {'encode': {}, 'prefill': {}, 'decode': {}}
    with opened(order) as (backend, bundle):
        for patches in sizes.frames:
            found['encode'][str(patches)] = attempt(
                lambda patches=patches: encode(backend, bundle, patches)  # type: ignore[misc]
            )
            note(found)
        for tokens in sizes.prefills:
            found['prefill'][str(tokens)] = attempt(
                lambda tokens=tokens: {'seconds': prefill(backend, tokens)}  # type: ignore[misc]
            )
            note(found)
        for position in sizes.positions:
            found['decode'][str(position)] = attempt(
                lambda position=position: decode(backend, position, sizes.tokens)  # type: ignore[misc]
            )
            note(found)


def encode(backend: Backend, bundle: Bundle, patches: int) -> Entry:
    """Times one frame of random pixels."""
    rows, columns = grid(patches)
    random = np.random.default_rng(0)
    pixels = random.standard_normal((patches, bundle.shape.patch_values), np.float32)
    frame = FramePatches(pixels, rows, columns, MERGE)
    return {'seconds': best_of(lambda: run_to_end(backend.encode([frame]))[0].release())}


def prefill(backend: Backend, tokens: int) -> float:
    """Times a prompt of text, with the choice of the token after it."""

    def work() -> None:
        slot = backend.new_slot()
        try:
            backend.forward_greedy(slot, Chunk(_ids(backend, tokens)))
        finally:
            backend.free_slot(slot)

    return best_of(work)


def decode(backend: Backend, position: int, tokens: int) -> Entry:
    """Times `tokens` one by one behind `position` others: the first one, which may be the first of
    its length, and the median of the rest.
    """
    slot = backend.new_slot()
    try:
        backend.forward(slot, Chunk(_ids(backend, position)))
        times = []
        for token_id in _ids(backend, tokens):
            start = time.perf_counter()
            backend.forward_greedy(slot, Chunk(np.array([token_id])))
            times.append(time.perf_counter() - start)
    finally:
        backend.free_slot(slot)
    return {
        'seconds': statistics.median(times[1:]),
        'first_seconds': times[0],
        'slowest_seconds': max(times),
    }


def best_of(work: Callable[[], object]) -> float:
    """Returns the median of several runs after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _ids(backend: Backend, count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, backend.description.vocabulary_size, count)
