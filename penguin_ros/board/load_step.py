# SPDX-License-Identifier: Apache-2.0
"""The step that loads the engines: how long it takes, how much memory is gone then, and whether the
cache is updated where it lies, which loading checks.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from penguin_ros.board.machine_facts import memory, resident_bytes
from penguin_ros.board.opened_bundle import opened
from penguin_ros.board.steps import Note, StepOrder


def run(order: StepOrder, note: Note) -> None:
    """Notes it."""
    before, start = memory(), time.monotonic()
    note({'before': before})
    with opened(order) as (backend, _):
        after = memory()
        note(
            {
                'seconds': round(time.monotonic() - start, 1),
                'after': after,
                'taken_bytes': before['available'] - after['available'],
                'resident_bytes': resident_bytes(),
                'slots': backend.description.slots,
                'slot_bytes': backend.description.slot_bytes,
                'way': backend.description.way,
                'graphs': asdict(backend.stats()),
            }
        )
