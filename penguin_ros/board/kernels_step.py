# SPDX-License-Identifier: Apache-2.0
"""The step that has text written by the engines and by own kernels, one after the other, where a
bundle has both: which is faster on this board.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.decode_choice import BY_ENGINES, BY_KERNELS, has_kernels
from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
from penguin_ros.board.micro_step import Entry, attempt
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.speed_step import best_of, decode
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.export.tensorrt.profiles import MAX_WANTED

VERIFIED = (4, 8, 16)
"""Rows of a draft."""


def run(order: StepOrder, note: Note) -> None:
    """Notes `decode`, and `verify` by rows, of `engines` and of `kernels`, in seconds; `left_out`
    says why there is nothing to compare.
    """
    bundle = open_bundle(order.bundle)
    if not has_kernels(bundle):
        note({'left_out': 'the bundle has no kernels; build it with --decode both'})
        return
    manifest = read_engine_manifest(Path(order.bundle))
    decoder = manifest.engine('decoder') if manifest is not None else None
    ways = [BY_KERNELS]
    if decoder is not None and len(decoder.profiles) > 1:
        ways.insert(0, BY_ENGINES)
    else:
        note({'left_out': 'its engines have no profile for one row; build it with --decode both'})
    for way in ways:
        with opened(order, way) as (backend, _):
            found: dict[str, Any] = {'decode': {}, 'verify': {}}
            for position in order.sizes.positions:
                found['decode'][str(position)] = attempt(
                    lambda at=position: decode(backend, at, order.sizes.tokens)  # type: ignore[misc]
                )
            for rows in VERIFIED:
                found['verify'][str(rows)] = attempt(
                    lambda rows=rows: verify(backend, order.sizes.positions[0], rows)  # type: ignore[misc]
                )
            note({way: {**found, 'way': backend.description.way}})


def verify(backend: Backend, position: int, rows: int) -> Entry:
    """Times verifying a draft of `rows` tokens behind `position` others."""
    ids = np.random.default_rng(3).integers(0, backend.description.vocabulary_size, position)
    slot = backend.new_slot()
    try:
        backend.forward(slot, Chunk(ids))
        wanted = range(min(rows, MAX_WANTED))

        def once() -> None:
            backend.forward_greedy_each(slot, Chunk(ids[:rows]), wanted)
            backend.truncate(slot, position)

        return {'seconds': best_of(once)}
    finally:
        backend.free_slot(slot)
