# SPDX-License-Identifier: Apache-2.0
"""What somebody waits for who asks about a picture, with a whole backend: opening, the first token,
the tokens behind it, and the memory that is gone meanwhile. Two steps take it, one for each of two
bundles of a model, in processes of their own, since two of them do not fit into a small board.
"""

from __future__ import annotations

import time
from typing import Any

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.board.golden import PREFILL, compute, stored_inputs
from penguin_ros.board.machine_facts import memory, resident_bytes
from penguin_ros.board.micro_step import Entry, attempt
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.speed_step import best_of, decode
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.steps import run_to_end


def measure(folder: str, order: StepOrder, note: Note) -> None:
    """Notes the `backend` of the bundle in a folder, seconds of `opening`, of the `first_token`,
    and of tokens by position (`decode`); `taken_bytes` at the most, and what it chose with given
    tokens.
    """
    before, begin = memory()['available'], time.monotonic()
    with opened(order, folder=folder) as (backend, bundle):
        least = memory()['available']
        description = backend.description
        note(
            {
                'backend': description.name,
                'way': description.way,
                'precision': description.precision,
                'opening': round(time.monotonic() - begin, 2),
            }
        )
        note({'first_token': attempt(lambda: first_token(backend, bundle))})
        found: dict[str, Any] = {}
        for position in order.sizes.positions:
            found[str(position)] = attempt(
                lambda at=position: decode(backend, at, order.sizes.tokens)  # type: ignore[misc]
            )
            least = min(least, memory()['available'])
            note({'decode': found})
        note({'chosen': attempt(lambda: chosen(backend, bundle))})
        least = min(least, memory()['available'])
        note({'taken_bytes': before - least, 'resident_bytes': resident_bytes()})


def first_token(backend: Backend, bundle: Bundle) -> Entry:
    """Times the stored picture and its question, from patches to the choice of a token."""
    inputs = stored_inputs(bundle)

    def once() -> None:
        features = run_to_end(backend.encode(inputs.frames))
        slot = backend.new_slot()
        try:
            *chunks, last = prompt_chunks(inputs, features, PREFILL)
            for chunk in chunks:
                backend.forward(slot, chunk)
            backend.forward_greedy(slot, last)
        finally:
            backend.free_slot(slot)

    return {'seconds': best_of(once), 'tokens': len(inputs.prompt.token_ids)}


def chosen(backend: Backend, bundle: Bundle) -> Entry:
    """Returns the most probable token at each step while given tokens are fed, by how much it led,
    and the largest logit.
    """
    found = compute(backend, bundle)
    return {
        'tokens': found.best.tolist(),
        'leads': [float(lead) for lead in found.margins],
        'largest': float(abs(found.logits).max()),
    }
