# SPDX-License-Identifier: Apache-2.0
"""The step that lets the model answer about the stored image again and again for some minutes: do
times, temperature and memory stay what they are?
"""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.board.golden import PREFILL, stored_inputs
from penguin_ros.board.machine_facts import power_watts, temperatures, throttling
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.board_facts import memory_facts
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.steps import run_to_end

TOKENS = 16
"""Tokens of an answer."""

MAX_SAMPLES = 600


def run(order: StepOrder, note: Note) -> None:
    """Notes percentiles of the time of a token, and a series of what the sensors say."""
    samples: list[dict[str, float]] = []
    times: list[float] = []
    start = time.monotonic()
    before = throttling()
    with opened(order) as (backend, bundle):
        inputs = stored_inputs(bundle)
        while time.monotonic() - start < order.sizes.soak_s:
            features = run_to_end(backend.encode(inputs.frames))
            slot = backend.new_slot()
            *chunks, last = prompt_chunks(inputs, features, PREFILL)
            for chunk in chunks:
                backend.forward(slot, chunk)
            token = backend.forward_greedy(slot, last)
            for _ in range(TOKENS):
                begin = time.perf_counter()
                token = backend.forward_greedy(slot, Chunk(np.array([token.token_id])))
                times.append(time.perf_counter() - begin)
            backend.free_slot(slot)
            if len(samples) < MAX_SAMPLES:
                samples.append(_sample(time.monotonic() - start))
            note(
                {
                    'tokens': len(times),
                    'p50_seconds': float(np.percentile(times, 50)),
                    'p99_seconds': float(np.percentile(times, 99)),
                    'samples': samples,
                    'throttled': {
                        name: count
                        for name, count in throttling().items()
                        if count != before.get(name)
                    },
                    'graphs': asdict(backend.stats()),
                }
            )


def _sample(seconds: float) -> dict[str, float]:
    warmest = max(temperatures().values(), default=0.0)
    return {
        'at_s': round(seconds, 1),
        'available_bytes': memory_facts().available,
        'warmest': warmest,
        'watts': round(power_watts(), 2),
    }
