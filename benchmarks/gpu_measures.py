# SPDX-License-Identifier: Apache-2.0
"""The passes that a user waits for, on one open backend, in milliseconds: a cold clip, a question
on a clip that is watched already, the next caption after one new frame, decoding at a position, and
verifying several drafted tokens at once.

They are the calls that the generation loop makes. Each figure is the time of one pass until its
result is on the host.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Features
from penguin_ros.benchmark.engine.model import Opened
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import run_to_end

FRAMES = 8
MAX_ROWS = 16


@dataclass(frozen=True)
class Sizes:
    """What is measured: positions before a decoded token, steps at each, rows that are verified."""

    positions: tuple[int, ...]
    steps: int
    rows: tuple[int, ...] = (4, 8, MAX_ROWS)


FULL = Sizes((100, 700, 3000), 32)
TINY = Sizes((20, 60), 4)


def measures(opened: Opened, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """Yields the name and the milliseconds of each pass."""
    yield from _clip(opened)
    for position in sizes.positions:
        yield from decoding(opened.backend, position, sizes)


def _clip(opened: Opened) -> Iterator[tuple[str, float]]:
    backend = opened.backend
    chunk_size = opened.config.model.prefill_chunk or backend.description.prefill_chunk
    preprocessor, clip = opened.preprocessor(), stored_clip(FRAMES + 1)
    begin = time.perf_counter()
    inputs = preprocessor.clip_inputs(replace(clip, frames=clip.frames[:FRAMES]), QUESTION)
    prepared = time.perf_counter()
    longer = preprocessor.clip_inputs(clip, QUESTION)
    slot = backend.new_slot()
    try:
        encoding = time.perf_counter()
        features = _encoded(backend, inputs)
        prefilling = time.perf_counter()
        _prefill(backend, slot, inputs, features, chunk_size, (0, len(inputs.prompt.token_ids)))
        ended = time.perf_counter()
        yield 'prepare 8 frames', 1e3 * (prepared - begin)
        yield 'encode 8 frames', 1e3 * (prefilling - encoding)
        yield 'prefill the prompt', 1e3 * (ended - prefilling)
        yield 'first token, cold', 1e3 * (prepared - begin + ended - encoding)
        yield 'question, watched clip', _question(backend, slot, inputs, features, chunk_size)
        yield 'next caption', _next_caption(backend, slot, longer, chunk_size)
    finally:
        backend.free_slot(slot)


def _encoded(backend: Backend, inputs: ModelInputs) -> list[Features]:
    """Encodes all frames and waits for the device."""
    features: list[Features] = run_to_end(backend.encode(inputs.frames))
    if backend.description.device != 'cpu':
        backend.read_features(features[-1])
    return features


def _prefill(
    backend: Backend,
    slot: int,
    inputs: ModelInputs,
    features: list[Features],
    chunk_size: int,
    part: tuple[int, int],
) -> None:
    *chunks, last = prompt_chunks(inputs, features, chunk_size, part)
    for chunk in chunks:
        backend.forward(slot, chunk)
    backend.forward_greedy(slot, last)


def _end_of_frames(inputs: ModelInputs) -> int:
    """The position behind the last visual token."""
    return inputs.prompt.image_starts[-1] + inputs.frames[-1].tokens


def _question(
    backend: Backend, slot: int, inputs: ModelInputs, features: list[Features], chunk_size: int
) -> float:
    """Keys and values of the clip are in the slot; the question behind them is computed."""
    start, end = _end_of_frames(inputs), len(inputs.prompt.token_ids)
    backend.truncate(slot, start)
    begin = time.perf_counter()
    _prefill(backend, slot, inputs, features, chunk_size, (start, end))
    return 1e3 * (time.perf_counter() - begin)


def _next_caption(backend: Backend, slot: int, longer: ModelInputs, chunk_size: int) -> float:
    """One frame more: it is encoded, and all behind the frames before it is computed. Those are in
    the slot already, as a growing window leaves them.
    """
    start = longer.prompt.image_starts[-2] + longer.frames[-2].tokens
    known: list[Features] = run_to_end(backend.encode(longer.frames[:-1]))
    backend.truncate(slot, 0)
    _prefill(backend, slot, longer, [*known, known[-1]], chunk_size, (0, start))
    begin = time.perf_counter()
    newest: list[Features] = run_to_end(backend.encode(longer.frames[-1:]))
    part = (start, len(longer.prompt.token_ids))
    _prefill(backend, slot, longer, known + newest, chunk_size, part)
    return 1e3 * (time.perf_counter() - begin)


def decoding(backend: Backend, position: int, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """Yields the median of steps at growing lengths, and that of a pass over several rows."""
    room = position + sizes.steps + MAX_ROWS
    ids = np.random.default_rng(0).integers(0, backend.description.vocabulary_size, room)
    slot = backend.new_slot()
    try:
        for begin in range(0, position, 256):
            backend.forward(slot, Chunk(ids[begin : min(begin + 256, position)]))
        steps = [_pass(backend, slot, ids[position + step :][:1]) for step in range(sizes.steps)]
        yield f'token at {position}', float(np.median(steps))
        for rows in sizes.rows:
            times = []
            for _ in range(sizes.steps // 2):
                backend.truncate(slot, position)
                times.append(_pass(backend, slot, ids[position : position + rows]))
            yield f'{rows} rows at {position}', float(np.median(times))
    finally:
        backend.free_slot(slot)


def _pass(backend: Backend, slot: int, ids: np.ndarray) -> float:
    begin = time.perf_counter()
    backend.forward_greedy_each(slot, Chunk(ids), range(len(ids)))
    return 1e3 * (time.perf_counter() - begin)
